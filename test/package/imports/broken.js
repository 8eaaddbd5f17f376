// Opens a database while a file of the package is not there, and once it is there again.
import { renameSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openDatabase, StorageException } from 'godwit';

const file = fileURLToPath(new URL('store/opened.js', import.meta.resolve('godwit')));
const tell = async (address) => {
  try {
    const database = await openDatabase(address);
    await database.close();
    return 'opened';
  } catch (error) {
    return error instanceof StorageException ? error.code : String(error);
  }
};

renameSync(file, `${file}.away`);
const without = await tell('memory:');
renameSync(`${file}.away`, file);
console.log(JSON.stringify([without, await tell('memory:'), await tell('nowhere:')]));
