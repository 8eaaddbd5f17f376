import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTemporaryDirectory } from './temporary-directory.ts';

/** Files of an authority, a server on 127.0.0.1 and a client, both signed by it. Made anew each time, valid for a day. */
export interface Certificates {
  readonly ca: string;
  readonly server: KeyPair;
  readonly client: KeyPair;
  remove(): void;
}

interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** Whether certificates can be made here. */
export const hasOpenssl = ((): boolean => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

export function createCertificates(): Certificates {
  const directory = createTemporaryDirectory('certificates');
  const file = (name: string) => join(directory.path, name);
  /** @param options parted by blanks; `@name` is a file here */
  const openssl = (options: string) => {
    const parts = options.split(' ').map((part) => (part.startsWith('@') ? file(part.slice(1)) : part));
    execFileSync('openssl', parts, { stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const newKey = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout';
  openssl(`req -x509 ${newKey} @ca-key.pem -days 1 -subj /CN=authority-of-a-test -out @ca.pem`);
  writeFileSync(file('names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  const sign = (name: string): KeyPair => {
    openssl(`req ${newKey} @${name}-key.pem -subj /CN=${name} -out @${name}.csr`);
    openssl(
      `x509 -req -in @${name}.csr -CA @ca.pem -CAkey @ca-key.pem -CAcreateserial -days 1 -extfile @names -out @${name}.pem`,
    );
    return { cert: file(`${name}.pem`), key: file(`${name}-key.pem`) };
  };
  return {
    ca: file('ca.pem'),
    server: sign('server'),
    client: sign('client'),
    remove: () => directory.remove(),
  };
}
