/** Entry point `godwit/nats`: the message bus on NATS. */
export type {
  BusAnswer,
  BusCounts,
  BusError,
  BusLogger,
  BusRequestOptions,
  BusState,
  MessageBus,
  Subscription,
  WholeMessageBus,
} from './bus.ts';
export { natsBus } from './nats-bus.ts';
export type { NatsBusOptions } from './nats-bus.ts';
