#if VECTORS
/* Unpacks the weights of 16 outputs from 4 bytes, one word each, with 2-bit fields f0 to f3. b * (2^12 + 2^24) has f1
   at the top of the word's lower half, and f3 at the top of the upper half; shifted left by 2 bits, it has f0 and f2
   there. Shifted right, these are 16-bit numbers: the weights of odd outputs, and of even ones. */
static inline uint32x4_t fields_of(const uint8_t *bytes)
{
    return vmulq_n_u32(vldrbq_u32(bytes), 0x01001000u);
}

static inline int16x8_t weights_of(uint32x4_t fields)
{
    return vshrq_n_s16(vreinterpretq_s16_u32(fields), 14);
}

/* Stores the sums of 16 outputs at one step. */
static inline void put_sums(SUM *sums, int16x8_t even, int16x8_t odd)
{
    vst2q_s16(sums, ((int16x8x2_t){{even, odd}}));
}

/* Largest number of changes of codes whose sums fit in 8 bits. */
#define LATE 8

/* Adds 8-bit sums to the 16-bit sums of even outputs (from upper halves) and odd outputs (from lower halves). */
static inline void add_late(int16_t (*late)[8], int8x16_t sums)
{
    vstrhq_s16(late[0], vaddq_s16(vldrhq_s16(late[0]), vmovltq_s8(sums)));
    /* one after the other, because registers are scarce */
    __asm__ volatile("" ::: "memory");
    vstrhq_s16(late[1], vaddq_s16(vldrhq_s16(late[1]), vmovlbq_s8(sums)));
}

/* Adds up weight times the change of a code from step to step over the window of one pixel, for every output channel
   and @stored@ time steps: 16 outputs at a time, in 16 bits. `even` and `odd` sum the codes of two steps at once, first
   + 256 * second, modulo 2^16; the sums of the second step, in `even_next` and `odd_next`, are subtracted at the end.
   After the second of four steps few codes change, and 8 bits hold the sums of a few changes. */
ALONE void conv_steps(const struct layer *layer, const uint8_t *weights, const uint8_t *codes, uint32_t y, uint32_t x,
                      ANSWER *work)
{
    const uint32_t inputs = layer->channels, row_of_map = layer->width * layer->groups;
    const int32_t top = (int32_t)y * layer->stride_y - layer->padding_y;
    const int32_t left = (int32_t)x * layer->stride_x - layer->padding_x;
    const struct taps rows = taps_of(top, layer->kernel_y, layer->dilation_y, layer->height);
    const struct taps columns = taps_of(left, layer->kernel_x, layer->dilation_x, layer->width);
    /* neighbouring pixels are contiguous in lists and weights */
    const int32_t run = layer->dilation_x == 1 && layer->groups == 1 ? columns.beyond - columns.first : 1;
    const uint32_t apart = layer->groups * layer->outputs + @beyond@;
    for (uint32_t g = 0; g < layer->groups; g++) {
        for (uint32_t o = 0; o < layer->outputs; o += 16) {
            for (uint32_t t = 0; t < @stored@u; t += 4) {
                int16x8_t even = vdupq_n_s16(0), odd = even, even_next = even, odd_next = even;
                int16_t late[4][8];
                for (uint32_t k = 0; k < 4; k++)
                    vstrhq_s16(late[k], even);
                for (int32_t ky = rows.first; ky < rows.beyond; ky++) {
                    const uint32_t row = (uint32_t)(top + ky * layer->dilation_y);
                    const uint8_t *map = codes + row * row_of_map * inputs * @stored@u + t;
                    const ACTIVE *active = work->active + row * row_of_map * inputs;
                    const ACTIVE *last = active + row_of_map * inputs;
                    for (int32_t kx = columns.first; kx < columns.beyond; kx += run) {
                        const uint32_t pixel = (uint32_t)(left + kx * layer->dilation_x) * layer->groups + g;
                        const ACTIVE *begin = work->begin + 2 * (row * (row_of_map + 1) + pixel);
                        const uint32_t tap = (uint32_t)(ky * layer->kernel_x + kx) * inputs - pixel * inputs;
                        const uint8_t *first_weights = weights + o / 4 + tap * layer->row;
                        const ACTIVE *one = active + begin[0], *end = active + begin[2 * run];
                        for (; one < end; one++) {
                            const uint8_t *code = map + *one * @stored@u;
                            const uint32x4_t fields = fields_of(first_weights + *one * layer->row);
                            const int16x8_t first = weights_of(vshlq_n_u32(fields, 2)), second = weights_of(fields);
                            const int32_t before = t == 0 ? 0 : code[-1], two = code[0] | code[1] << 8;
                            even = vmlaq_n_s16(even, first, (int16_t)(two - before * 0x101));
                            odd = vmlaq_n_s16(odd, second, (int16_t)(two - before * 0x101));
                            even_next = vmlaq_n_s16(even_next, first, (int16_t)((two >> 8) - before));
                            odd_next = vmlaq_n_s16(odd_next, second, (int16_t)((two >> 8) - before));
                        }
                        one = last - begin[2 * run + 1];
                        for (uint32_t count, rest = begin[2 * run + 1] - begin[1]; rest > 0; rest -= count) {
                            count = rest < LATE ? rest : LATE;
                            int8x16_t third = vdupq_n_s8(0), fourth = third;
                            for (uint32_t k = 0; k < count; k++, one++) {
                                const uint8_t *code = map + *one * @stored@u;
                                const uint32x4_t fields = fields_of(first_weights + *one * layer->row);
                                const int16x8_t first = weights_of(vshlq_n_u32(fields, 2)), second = weights_of(fields);
                                const uint32_t four = four_of(code);
                                const int32_t before = t == 0 ? 0 : code[-1], next = four >> 8 & 0xffu;
                                even = vmlaq_n_s16(even, first, (int16_t)(four - before * 0x101));
                                odd = vmlaq_n_s16(odd, second, (int16_t)(four - before * 0x101));
                                even_next = vmlaq_n_s16(even_next, first, (int16_t)(next - before));
                                odd_next = vmlaq_n_s16(odd_next, second, (int16_t)(next - before));
                                const int8x16_t both = vreinterpretq_s8_s16(vsliq_n_s16(second, first, 8));
                                third = vmlaq_n_s8(third, both, (int8_t)((four >> 16 & 0xffu) - next));
                                fourth = vmlaq_n_s8(fourth, both, (int8_t)((four >> 24) - (four >> 16 & 0xffu)));
                            }
                            add_late(late, third);
                            add_late(late + 2, fourth);
                        }
                    }
                }
                SUM *sums = work->sums + t * apart + g * layer->outputs + o;
                even = vsubq_s16(even, vshlq_n_s16(even_next, 8));
                odd = vsubq_s16(odd, vshlq_n_s16(odd_next, 8));
                put_sums(sums, even, odd);
                put_sums(sums + apart, vsubq_s16(even_next, even), vsubq_s16(odd_next, odd));
                put_sums(sums + 2 * apart, vldrhq_s16(late[0]), vldrhq_s16(late[1]));
                put_sums(sums + 3 * apart, vldrhq_s16(late[2]), vldrhq_s16(late[3]));
            }
        }
        weights += (uint32_t)(layer->kernel_y * layer->kernel_x) * inputs * layer->row;
    }
}
#else
/* Appends a change to a list, and adds up the list when it is full. */
static uint32_t listed(const struct layer *layer, const uint8_t *weights, CHANGE *list, uint32_t count, uint32_t offset,
                       int32_t pair, SUM *sums, uint32_t apart)
{
    list[count].offset = offset;
    list[count].pair = pair;
    if (count + 1 < @most@u)
        return count + 1;
    list[@most@].pair = 0;
    add_2bit_steps(layer, weights, list, sums, apart);
    return 0;
}

/* Adds up weight times code over the window of one pixel, for every output channel and @stored@ time steps. At a step,
   the sum includes all changes of the codes so far. Unchanged codes are skipped: changes are listed, two steps in one
   word, and the lists are added up for a few outputs at a time. */
ALONE void conv_steps(const struct layer *layer, const uint8_t *weights, const uint8_t *codes, uint32_t y, uint32_t x,
                      ANSWER *work)
{
    const uint32_t inputs = layer->channels, row_of_map = layer->width * layer->groups;
    const int32_t top = (int32_t)y * layer->stride_y - layer->padding_y;
    const int32_t left = (int32_t)x * layer->stride_x - layer->padding_x;
    const struct taps rows = taps_of(top, layer->kernel_y, layer->dilation_y, layer->height);
    const struct taps columns = taps_of(left, layer->kernel_x, layer->dilation_x, layer->width);
    /* neighbouring pixels are contiguous in lists and weights */
    const int32_t run = layer->dilation_x == 1 && layer->groups == 1 ? columns.beyond - columns.first : 1;
    const uint32_t apart = layer->groups * layer->outputs + @beyond@;
    memset(work->sums, 0, @stored@u * apart * sizeof work->sums[0]);
    for (uint32_t g = 0; g < layer->groups; g++) {
        for (uint32_t t = 0; t < @stored@u; t += 4) {
            SUM *sums = work->sums + t * apart + g * layer->outputs, *later = sums + 2 * apart;
            uint32_t early = 0, late = 0;
            for (int32_t ky = rows.first; ky < rows.beyond; ky++) {
                const uint32_t row = (uint32_t)(top + ky * layer->dilation_y);
                const uint8_t *map = codes + row * row_of_map * inputs * @stored@u + t;
                const ACTIVE *active = work->active + row * row_of_map * inputs;
                const ACTIVE *last = active + row_of_map * inputs;
                for (int32_t kx = columns.first; kx < columns.beyond; kx += run) {
                    const uint32_t pixel = (uint32_t)(left + kx * layer->dilation_x) * layer->groups + g;
                    const ACTIVE *begin = work->begin + 2 * (row * (row_of_map + 1) + pixel);
                    const uint32_t tap = (uint32_t)(ky * layer->kernel_x + kx) * inputs - pixel * inputs;
                    const ACTIVE *one = active + begin[0], *end = active + begin[2 * run];
                    for (; one < end; one++) {
                        const uint8_t *code = map + *one * @stored@u;
                        const int32_t before = t == 0 ? 0 : code[-1];
                        const int32_t pair = code[0] - before + (code[1] - code[0]) * (1 << APART);
                        const uint32_t offset = (tap + *one) * layer->row;
                        if (pair != 0)
                            early = listed(layer, weights, work->early, early, offset, pair, sums, apart);
                    }
                    one = last - begin[2 * run + 1];
                    for (end = last - begin[1]; one < end; one++) {
                        const uint8_t *code = map + *one * @stored@u;
                        const int32_t before = t == 0 ? 0 : code[-1];
                        const int32_t pair = code[0] - before + (code[1] - code[0]) * (1 << APART);
                        const int32_t second = code[2] - code[1] + (code[3] - code[2]) * (1 << APART);
                        const uint32_t offset = (tap + *one) * layer->row;
                        if (pair != 0)
                            early = listed(layer, weights, work->early, early, offset, pair, sums, apart);
                        if (second != 0)
                            late = listed(layer, weights, work->late, late, offset, second, later, apart);
                    }
                }
            }
            work->early[early].pair = work->late[late].pair = 0;
            add_2bit_steps(layer, weights, work->early, sums, apart);
            add_2bit_steps(layer, weights, work->late, later, apart);
        }
        weights += (uint32_t)(layer->kernel_y * layer->kernel_x) * inputs * layer->row;
    }
}
#endif
