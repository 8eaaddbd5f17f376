// Prints which files and packages are loaded by `import('godwit')` or `require('godwit')`, and then by opening a store.
import { Session } from 'node:inspector';
import { createRequire } from 'node:module';

const loaded = new Set();
const session = new Session();
session.connect();
session.post('Debugger.enable');
session.on('Debugger.scriptParsed', ({ params }) => loaded.add(params.url));

function list() {
  const files = [...loaded].filter((url) => url.includes('/node_modules/'));
  const packages = files.map((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)[1]);
  const own = files.map((url) => /.*\/godwit\/dist\/(.*)$/.exec(url)?.[1]);
  return { packages: [...new Set(packages)], own: own.filter((path) => path !== undefined) };
}

const require = createRequire(import.meta.url);
const godwit = process.argv[2] === 'require' ? require('godwit') : await import('godwit');
const { defineModel, string } = godwit;
const City = defineModel({
  name: 'City',
  version: '1.0',
  key: ['id'],
  properties: { id: string({ number: 1, required: true }) },
});
const imported = list();
const store = await godwit.FoundationDBDataStore.open({
  database: 'memory:',
  subspace: ['geo'],
  dataModelsById: { 1: City },
});
await store.close();
session.disconnect();
console.log(JSON.stringify({ imported, opened: list() }));
