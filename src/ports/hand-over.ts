import { move, transferableSymbol, valueSymbol } from 'piscina';

/** For what a worker thread answers: its buffers go to the other side, and are empty here afterwards. */
export function handOver<Answer extends object>(answer: Answer, buffers: readonly ArrayBuffer[]): unknown {
  return move({
    get [transferableSymbol]() {
      return buffers;
    },
    get [valueSymbol]() {
      return answer;
    },
  });
}
