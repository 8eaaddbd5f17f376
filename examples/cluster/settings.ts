/** What the processes of the shop are told, by their environment. The workers inherit that of the primary. */
export interface Settings {
  /** `embedded:<directory>` */
  readonly database: string;
  /** `nats://<host>:<port>` */
  readonly nats: string;
  /** 0: one that is free, the same for all workers. */
  readonly port: number;
  readonly workers: number;
  /** Records per second that are moved; undefined: no limit. */
  readonly rate: number | undefined;
}

export function readSettings(environment: NodeJS.ProcessEnv = process.env): Settings {
  const { SHOP_DATABASE = 'embedded:.shop', SHOP_NATS = 'nats://127.0.0.1:4222' } = environment;
  const { PORT = '8080', SHOP_WORKERS = '3', SHOP_RATE } = environment;
  return {
    database: SHOP_DATABASE,
    nats: SHOP_NATS,
    port: Number(PORT),
    workers: Number(SHOP_WORKERS),
    rate: SHOP_RATE === undefined ? undefined : Number(SHOP_RATE),
  };
}

export const environmentOf = (settings: Settings): NodeJS.ProcessEnv => ({
  SHOP_DATABASE: settings.database,
  SHOP_NATS: settings.nats,
  PORT: String(settings.port),
  SHOP_WORKERS: String(settings.workers),
  ...(settings.rate === undefined ? {} : { SHOP_RATE: String(settings.rate) }),
});

/** Where the records lie in the database, and with that the store's name in subjects. */
export const subspace = ['shop'];
