/* A network as tables: what mcusim.calibration.device_network writes. */
#ifndef MCUSIM_NETWORK_H
#define MCUSIM_NETWORK_H

#include "kernels.h"

enum mcusim_operator {
    MCUSIM_ADD,
    MCUSIM_AVERAGE_POOL_2D,
    MCUSIM_CONV_2D,
    MCUSIM_DEPTHWISE_CONV_2D,
    MCUSIM_FULLY_CONNECTED,
    MCUSIM_MAX_POOL_2D,
    MCUSIM_SOFTMAX
};

struct mcusim_layer {
    enum mcusim_operator operation;
    int32_t index;         /* of the operator in the model */
    const char *name;      /* of the operator */
    const void *shape;     /* the kernel's structure */
    const int8_t *weights; /* null without */
    const int32_t *bias;   /* null without */
    int32_t inputs[2];     /* where they lie in the arena; the second only of a sum */
    int32_t output;
    int32_t output_bytes;
    int32_t column; /* working memory of a convolution */
};

struct mcusim_network {
    const char *name;
    const struct mcusim_layer *layers;
    int32_t layer_count;
    int32_t input; /* where it lies in the arena */
    int32_t input_bytes;
};

extern const struct mcusim_network mcusim_networks[];
extern const int32_t mcusim_network_count;
extern int8_t mcusim_arena[];

void mcusim_run_layer(const struct mcusim_layer *layer);

#endif
