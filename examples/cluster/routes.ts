import type { IncomingMessage } from 'node:http';
import type { Readiness } from '../../src/index.ts';
import type { Answer } from './answers.ts';
import { answerTo, unavailable } from './answers.ts';

/** What a release has behind its routes. */
export interface Shop {
  readonly store: { readiness(): Readiness; close(options: { readonly timeoutMs: number }): Promise<void> };
  readonly products: {
    get(id: number): Promise<object | undefined>;
    change(id: number, change: { readonly stock: number }): Promise<object>;
  };
}

const maxBodyBytes = 100;

/** Answers one request. @param isEnding whether this worker was told to end */
export async function answer(
  request: IncomingMessage,
  { store, products }: Shop,
  version: string,
  isEnding: () => boolean,
): Promise<Answer> {
  const { method, url = '' } = request;
  // A process that can answer lives. What it depends on is not asked: a restart would not mend that.
  if (url === '/livez') return { status: 200, body: { pid: process.pid } };
  if (url === '/readyz') {
    const { ready, models } = store.readiness();
    return ready && !isEnding()
      ? { status: 200, body: models }
      : unavailable(isEnding() ? { ending: true } : models);
  }
  const [, id, part] = /^\/products\/(\d{1,9})(\/stock)?$/.exec(url) ?? [];
  if (id === undefined) return { status: 404, body: { error: 'NOT_FOUND' } };
  try {
    if (method === 'GET' && part === undefined) {
      const product = await products.get(Number(id));
      return product === undefined
        ? { status: 404, body: { error: 'NOT_FOUND' } }
        : { status: 200, body: { version, product } };
    }
    if (method === 'PUT' && part !== undefined) {
      const product = await products.change(Number(id), { stock: await readNumber(request) });
      return { status: 200, body: { version, product } };
    }
  } catch (error) {
    return answerTo(error);
  }
  return { status: 405, body: { error: 'NOT_ALLOWED' } };
}

/** NaN, which the model refuses, for what is none. */
async function readNumber(request: IncomingMessage): Promise<number> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > maxBodyBytes) return NaN;
  }
  return text.trim() === '' ? NaN : Number(text);
}
