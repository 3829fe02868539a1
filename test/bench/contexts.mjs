// Build contexts, the same bytes every time.
import { mkdirSync, openSync, closeSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const WORDS =
  'const let function return import export await async for while if else require options context stream error result value index length string number array map filter path file read write build image layer cache key hash digest'.split(
    ' ',
  );

/** A deterministic source of 32-bit numbers (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** `count` files of about `bytes` each that compress as source code does. */
export function sourceTree(dir, count, bytes, seed = 7) {
  const next = random(seed);
  for (let i = 0; i < count; i++) {
    const folder = join(dir, `d${Math.floor(i / 500)}`, `m${Math.floor(i / 50) % 10}`);
    if (i % 50 === 0) mkdirSync(folder, { recursive: true });
    const lines = [];
    for (let size = 0; size < bytes * (0.5 + (next() % 1000) / 1000); size += lines.at(-1).length) {
      lines.push(
        `${WORDS[next() % WORDS.length]} ${WORDS[next() % WORDS.length]}_${next().toString(36)} = ${WORDS[next() % WORDS.length]}(${next() % 1000});\n`,
      );
    }
    writeFileSync(join(folder, `f${i}.js`), lines.join(''));
  }
}

/** One file of `mib` MiB that does not compress. */
export function bigFile(path, mib, seed = 13) {
  const next = random(seed);
  const chunk = new Uint32Array(1 << 18);
  const fd = openSync(path, 'w');
  for (let i = 0; i < mib; i++) {
    for (let j = 0; j < chunk.length; j++) chunk[j] = next();
    writeSync(fd, chunk);
  }
  closeSync(fd);
}

/** Writes `Dockerfile` (or another name) from lines and returns the directory. */
export function dockerfile(dir, lines, name = 'Dockerfile') {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, name), `${lines.join('\n')}\n`);
  return dir;
}

/** The lines of a Dockerfile of stages that copy from one another, written as people write them. */
export function longDockerfile(count) {
  const lines = ['ARG BASE=debian:bookworm'];
  for (let i = 0; lines.length < count - 25; i++) {
    lines.push(
      `FROM \${BASE} AS stage-${i}`,
      `LABEL stage="${i}" \\`,
      `      org.opencontainers.image.title='part ${i}'`,
      `ARG VERSION=1.${i}.0`,
      'ENV PATH=/opt/bin:$PATH \\',
      '    HOME=/srv/${VERSION%.*}',
      `WORKDIR /srv/app${i}`,
      `COPY --chown=1000:1000 package*.json src/${i}/ ./`,
      `RUN --mount=type=cache,target=/root/.npm,id=npm-${i} \\`,
      '    set -eux; \\',
      '    # install',
      '    npm ci --no-audit; \\',
      '    rm -rf /tmp/*',
      `COPY <<EOF /etc/app/${i}.conf`,
      'listen ${VERSION}',
      'EOF',
      `EXPOSE ${8000 + i}/tcp`,
      i > 0 ? `COPY --from=stage-${i - 1} /srv/out ./in` : 'RUN true',
      'USER 1000',
      'HEALTHCHECK --interval=30s CMD curl -f http://localhost/ || exit 1',
      `CMD ["node", "server${i}.js"]`,
      '',
    );
  }
  while (lines.length < count) lines.push(`LABEL line=${lines.length}`);
  return lines;
}
