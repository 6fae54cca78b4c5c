
uint32_t @name@_run_until_sure(@name@_state *state, @name@_work *work,
        @as_learned@const @name@_number *frames, uint32_t steps, @name@_total *sums)
{
    uint32_t t = 0;
    @name@_start(state);
    memset(sums, 0, @outputs@ * sizeof *sums);
    while (t < steps) {
        @name@_number outputs[@outputs@];
        @name@_step(state, work, @learned@frames@frame@, outputs);
        for (uint32_t k = 0; k < @outputs@; k++)
            sums[k] @add@ outputs[k];
        t++;
        if (@name@_is_sure(sums, @counted@))
            break;
    }
    return t;
}
