#include "network.h"

void mcusim_run_layer(const struct mcusim_layer *layer)
{
    const int8_t *input = mcusim_arena + layer->inputs[0];
    int8_t *output = mcusim_arena + layer->output;
    switch (layer->operation) {
    case MCUSIM_ADD:
        mcusim_add_s8(layer->shape, input, mcusim_arena + layer->inputs[1], output);
        break;
    case MCUSIM_AVERAGE_POOL_2D:
        mcusim_average_pool_s8(layer->shape, input, output);
        break;
    case MCUSIM_CONV_2D:
        mcusim_convolve_s8(layer->shape, input, layer->weights, layer->bias,
                           mcusim_arena + layer->column, output);
        break;
    case MCUSIM_DEPTHWISE_CONV_2D:
        mcusim_depthwise_s8(layer->shape, input, layer->weights, layer->bias, output);
        break;
    case MCUSIM_FULLY_CONNECTED:
        mcusim_dense_s8(layer->shape, input, layer->weights, layer->bias, output);
        break;
    case MCUSIM_MAX_POOL_2D:
        mcusim_max_pool_s8(layer->shape, input, output);
        break;
    case MCUSIM_SOFTMAX:
        mcusim_softmax_s8(layer->shape, input, output);
        break;
    }
}
