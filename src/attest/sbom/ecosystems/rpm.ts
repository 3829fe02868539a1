import type { Ecosystem } from '../package';
import { bdbValues, isBdb } from '../rpm/bdb';
import { packageOfHeader } from '../rpm/header';
import { isNdb, ndbHeaders } from '../rpm/ndb';
import { isSqlite, sqliteColumn } from '../rpm/sqlite';

/** rpm, by its database: SQLite (Fedora, RHEL 9), its own (SUSE), Berkeley DB (RHEL 8 and older). */
export const RPM: Ecosystem = {
  name: 'rpm',
  claims: ({ path }) =>
    /^(?:var\/lib\/rpm|usr\/lib\/sysimage\/rpm|usr\/share\/rpm)\/(?:rpmdb\.sqlite|Packages\.db|Packages)$/.test(
      path,
    ),
  read: (file) => [...headersOf(file.read())].flatMap((header) => packageOfHeader(header) ?? []),
};

function headersOf(bytes: Buffer): Generator<Buffer> {
  if (isSqlite(bytes)) return sqliteColumn(bytes, 'Packages', 1);
  if (isNdb(bytes)) return ndbHeaders(bytes);
  if (isBdb(bytes)) return bdbValues(bytes);
  throw new Error('its format is unknown');
}
