/** Entry point `godwit/nats`: the message bus on NATS, and what other programs follow and steer migrations with. */
export type {
  BusAnswer,
  BusCounts,
  BusError,
  BusLogger,
  BusRequestOptions,
  BusService,
  BusState,
  MessageBus,
  Subscription,
  WholeMessageBus,
} from './cluster/bus.ts';
export type { ControlVerb } from './cluster/control-request.ts';
export { natsBus } from './cluster/nats-bus.ts';
export type { NatsBusOptions, NatsClient } from './cluster/nats-bus.ts';
export type { MessageSource, MigrationMessage } from './migration/event-messages.ts';
export type { RemoteBus, RemoteConnection } from './remote/connection.ts';
export { controlMigration } from './remote/control-migration.ts';
export type { ControlOptions, RemoteStore } from './remote/control-migration.ts';
export { followMigrations } from './remote/follow-migrations.ts';
export type {
  FollowedMigration,
  FollowOptions,
  MigrationGap,
  MigrationRead,
} from './remote/follow-migrations.ts';
export type { ControlReply } from './remote/replies.ts';
