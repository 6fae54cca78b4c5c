/* A convolution; a linear layer is a convolution of a one-pixel map. Channels, outputs and row are per group. */
struct layer {
    uint32_t channels, height, width, outputs, groups;
    int32_t kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
    /* Units of the weights for one input of the window: one per output, and padding. */
    uint32_t row;
    /* The number of codes whose sum fits in 16 bits. */
    uint32_t most;
};
