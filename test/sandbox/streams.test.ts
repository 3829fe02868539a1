import { writeSync } from 'node:fs';
import { openStreams } from '../../src/sandbox/streams';

describe('the streams of a process', () => {
  it('have ended when the last of what was written is handed on, however long that takes', async () => {
    const taken: string[] = [];
    const slow = async (stream: string, data: Uint8Array): Promise<void> => {
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
      taken.push(`${stream} ${Buffer.from(data).toString()}`);
    };
    const streams = openStreams({ output: slow });
    writeSync(streams.childEnds[1], 'one');
    writeSync(streams.childEnds[2], 'two');
    streams.closeChildEnds();
    await Promise.all(streams.connect({ output: slow }));
    expect(taken.sort()).toEqual(['stderr two', 'stdout one']);
  });
});
