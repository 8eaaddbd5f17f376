import { describe, expect, it } from 'vitest';
import { createScan } from '../../../src/store/model-query.ts';

/** Pages over 1 to 5, and what was asked for. */
function createSource(shortPages = false) {
  const asked: { limit: number; after: string | undefined }[] = [];
  const read = (limit: number, after: string | undefined) => {
    asked.push({ limit, after });
    const from = Number(after ?? 0);
    const to = Math.min(5, from + (shortPages ? 1 : limit));
    const records = Array.from({ length: to - from }, (_, n) => from + n + 1);
    return Promise.resolve({ records, next: to === 5 ? undefined : String(to) });
  };
  return { asked, read };
}

describe('a scan', () => {
  it('reads nothing before it is asked, and no page that nobody wants', async () => {
    const { asked, read } = createSource();
    const scan = createScan('City', { pageSize: 2 }, read);
    expect(asked).toEqual([]);
    for await (const record of scan) if (record === 3) break;
    expect(asked).toEqual([
      { limit: 2, after: undefined },
      { limit: 2, after: '2' },
    ]);
  });

  it('asks for no more than its limit leaves', async () => {
    const { asked, read } = createSource();
    expect(await createScan('City', { pageSize: 2, limit: 3 }, read).toArray()).toEqual([1, 2, 3]);
    expect(asked.map(({ limit }) => limit)).toEqual([2, 1]);
  });

  it('goes on behind pages that are shorter than asked for', async () => {
    const { read } = createSource(true);
    expect(await createScan('City', { limit: 4 }, read).toArray()).toEqual([1, 2, 3, 4]);
  });

  it('begins anew with each iteration, where `after` says', async () => {
    const { read } = createSource();
    const scan = createScan('City', { after: '3' }, read);
    expect(await scan.toArray()).toEqual([4, 5]);
    expect(await scan.toArray()).toEqual([4, 5]);
  });

  it('gives one page with the place where the next begins', async () => {
    const { read } = createSource();
    expect(await createScan('City', { pageSize: 2 }, read).page()).toEqual({ records: [1, 2], next: '2' });
    expect(await createScan('City', { limit: 0, after: '2' }, read).page()).toEqual({
      records: [],
      next: '2',
    });
  });

  it.each([{ pageSize: 10_001 }, { pageSize: 0 }, { limit: -1 }, { limit: Number.NaN }])(
    'refuses %j',
    (options) => {
      const { read } = createSource();
      expect(() => createScan('City', options, read)).toThrow(
        expect.objectContaining({ code: 'RECORD_INVALID' }),
      );
    },
  );
});
