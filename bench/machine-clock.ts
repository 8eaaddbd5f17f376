/** Milliseconds on a clock that never goes back and is the same for all processes of a machine. */
export const machineMs = (): number => Number(process.hrtime.bigint()) / 1e6;
