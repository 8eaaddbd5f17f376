import { isMainThread } from 'node:worker_threads';
import { defineTransform } from '../../src/model/transform.ts';
import { ItemV1, ItemV2 } from './item-models.ts';

/** Appends one mark, so that a record that was moved twice shows it. */
export default defineTransform(ItemV1, ItemV2, ({ mark, rank, ...item }) => {
  if (isMainThread) throw new Error('a module runs in a worker thread');
  return { ...item, mark: `${mark}+`, rank: Number(rank) };
});
