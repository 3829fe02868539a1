import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { RowJournal } from '../../src/history/row-journal';
import { useTemp } from '../support/temp';

describe('the log of a step', () => {
  const temp = useTemp();

  const logOf = async (limit: number): Promise<{ text: string; notes: readonly string[] }> => {
    const logs = join(temp.dir('logs'), 'build.logs');
    const journal = new RowJournal(0, logs, limit);
    journal.take({ kind: 'vertex', id: 1, name: 'RUN yes' });
    for (let i = 0; i < 4; i++)
      journal.take({
        kind: 'log',
        id: 1,
        time: i,
        stream: 'stdout',
        data: Buffer.from('12345678'),
      });
    await journal.flush();
    const text = gunzipSync(readFileSync(join(logs, '1.gz'))).toString();
    return { text, notes: journal.records()[0]?.notes ?? [] };
  };

  it('keeps as much as it may, and says that it ends there', async () => {
    const { text, notes } = await logOf(20);
    expect(text.split('\n')).toEqual([
      '12345678123456781234',
      expect.stringContaining('the log ends here: --step-log-limit keeps only 20 bytes'),
      '',
    ]);
    expect(notes).toEqual([expect.stringContaining('the log ends here')]);
  });

  it('keeps everything without a limit', async () => {
    expect(await logOf(0)).toEqual({ text: '12345678'.repeat(4), notes: [] });
  });
});
