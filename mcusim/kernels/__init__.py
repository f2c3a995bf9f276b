"""What kernels compute and how their loops run, library by library."""
