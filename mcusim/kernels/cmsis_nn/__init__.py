"""CMSIS-NN kernels: for now what scratch memory they need."""
