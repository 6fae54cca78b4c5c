/* A convolution; a linear layer is one of a map of one pixel. Channels, outputs and row are those of a group. */
struct layer {
    uint32_t channels, height, width, outputs, groups;
    int32_t kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
    /* Units of the weights for one input of the window, one for each output and some to fill up. */
    uint32_t row;
    /* The number of codes whose sum fits in 16 bits. */
    uint32_t most;
};
