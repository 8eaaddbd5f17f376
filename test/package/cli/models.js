/** What a program shares with the command: `godwit migrate --models ./models.js`. */
import { backfill, defineModel, float64, string } from 'godwit';

const TownV2 = defineModel({
  name: 'Town',
  version: '2.0',
  key: ['id'],
  properties: {
    id: string({ number: 1, required: true }),
    latitude: float64({ number: 2, required: true, min: -90, max: 90, alternativeNames: ['lat'] }),
  },
  indexes: [{ name: 'byLatitude', on: ['latitude'] }],
});

/** @param how what goes wrong, how many records are moved per second at most, and who approves */
export function optionsOf({
  fails = false,
  hasHandler = true,
  rate = undefined,
  approval = 'automatic',
} = {}) {
  const transform = ({ id, lat }) => {
    if (fails) throw new Error('no town can be moved');
    return { id, latitude: Number(lat) };
  };
  return {
    dataModelsById: { 1: TownV2 },
    persistMigrationAuditEvents: true,
    migrationContractApproval: approval,
    ...(hasHandler ? { migrationHandler: { Town: backfill({ transform }) } } : {}),
    ...(rate === undefined ? {} : { migrationMaxRecordsPerSecond: rate }),
  };
}

export default () => optionsOf(JSON.parse(process.env.TOWNS ?? '{}'));
