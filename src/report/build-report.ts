import {
  comparedWith,
  stepNumber,
  usageText,
  type BuildRecord,
  type RowRecord,
  type StepRecord,
} from '../history/build-record';
import { causeText } from '../history/cause';
import { humanSize, seconds } from '../progress/units';
import type { ReportFile, ReportLayer } from './layers';
import { html, page, type Html } from './page';

/** Files of a layer that are listed; the largest of more. */
const MOST_FILES = 500;

/** A directory of a layer, with what of it is listed. */
interface Folder {
  readonly folders: Map<string, Folder>;
  readonly files: ReportFile[];
}

/**
 * A build as a page of HTML: what its time went into, why steps were not in the cache, and what its
 * layers hold.
 */
export function buildReport(record: BuildRecord, layers: readonly ReportLayer[]): string {
  const names = record.result?.names.join(', ') ?? '';
  const title = `Build ${record.id}${names === '' ? '' : ` of ${names}`}`;
  return page(
    title,
    html`<h1>${title}</h1>
      <p class="soft">
        ${record.dockerfile} in <code>${record.context}</code>,
        ${record.started}${record.target === undefined ? '' : `, stage ${record.target}`}
      </p>
      ${record.error === undefined ? '' : html`<p class="bad">${record.outcome}: ${record.error.message} [${record.error.code}]</p>`}
      ${numbers(record, layers)}
      <h2>Timeline</h2>
      ${timeline(record)}
      <h2>What was not in the cache</h2>
      ${misses(record)}
      ${
        layers.length === 0
          ? html`<h2>Layers</h2>
              <p class="soft">The image is not in the store.</p>`
          : html`<h2>Layers</h2>
              ${layers.map(layerDetails)}${wasted(layers)}`
      }`,
  );
}

function numbers({ cache, durationMs }: BuildRecord, layers: readonly ReportLayer[]): Html {
  const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0);
  const lost = layers.reduce((sum, layer) => sum + layer.wasted, 0);
  return html`<ul class="numbers">
    <li><b>${seconds(durationMs)}</b>build time</li>
    <li><b>${cache.hits} of ${cache.hits + cache.misses}</b>steps from the cache</li>
    <li><b>${seconds(cache.secondsSaved * 1000)}</b>not run again</li>
    <li><b>${humanSize(cache.bytesSaved, 3)}</b>not made again</li>
    ${
      layers.length === 0
        ? ''
        : html`<li><b>${humanSize(bytes, 3)}</b>in ${layers.length} layers</li>
            <li><b>${humanSize(lost, 3)}</b>wasted</li>`
    }
  </ul>`;
}

function timeline(record: BuildRecord): Html {
  const steps = new Map(record.steps.map((step) => [step.row, step]));
  const rows = record.rows.filter((row) => row.start !== undefined);
  const total = Math.max(1, record.durationMs, ...rows.map((row) => row.end ?? 0));
  return html`<p class="legend">
      <span><i class="hit"></i>from the cache</span
      ><span><i class="bar" style="position:static"></i>run</span
      ><span><i class="pull"></i>load, pull</span><span><i class="export"></i>export</span
      ><span><i class="failed"></i>failed</span>
    </p>
    ${rows.map((row) => {
      const start = row.start ?? 0;
      const end = row.end ?? record.durationMs;
      const step = steps.get(row.id);
      const place = `left:${((start / total) * 100).toFixed(2)}%;width:${(((end - start) / total) * 100).toFixed(2)}%`;
      return html`<div class="row">
        <span class="mono">${row.name}</span>
        <div class="track"><div class="bar ${kindOf(row)}" style="${place}"></div></div>
        <span class="time">${row.state === 'cached' ? 'CACHED' : seconds(end - start)}</span
        >${reasons(row, step)}
      </div>`;
    })}`;
}

function kindOf(row: RowRecord): string {
  if (row.state === 'failed' || row.state === 'canceled') return 'failed';
  if (row.state === 'cached') return 'hit';
  if (/^(?:exporting|pushing|sending|copying)/.test(row.name)) return 'export';
  return /^\[internal\]|\] FROM /.test(row.name) ? 'pull' : 'run';
}

function reasons(row: RowRecord, step: StepRecord | undefined): Html | undefined {
  const [first] = step?.causes ?? [];
  if (first === undefined && row.notes === undefined) return undefined;
  const kept = step?.kept === true ? ' Same result as before, kept.' : '';
  return first === undefined
    ? undefined
    : html`<span class="why soft"
        >${causeText(first)}${(step?.causes?.length ?? 0) > 1 ? `, and ${(step?.causes?.length ?? 0) - 1} more` : ''}.${kept}</span
      >`;
}

function misses({ steps }: BuildRecord): Html {
  const missed = steps.filter((step) => !step.cached);
  if (missed.length === 0) return html`<p>Every step came from the cache.</p>`;
  return html`${missed.map(
    (step) =>
      html`<details open>
        <summary>
          <b>Step ${stepNumber(step.name)}</b>, line ${step.line}: <code>${step.text}</code>
        </summary>
        <ul>
          ${(step.causes ?? []).map((cause) => html`<li>${causeText(cause)}</li>`)}
        </ul>
        ${step.earlier === undefined ? '' : html`<p class="soft">${comparedWith(step.earlier)}</p>`}${step.usage === undefined ? '' : html`<p class="soft">took ${usageText(step.usage)}</p>`}
      </details>`,
  )}`;
}

function layerDetails(layer: ReportLayer, index: number): Html {
  const files = layer.files.filter((file) => file.kind !== 'directory');
  const shown =
    files.length <= MOST_FILES
      ? files
      : [...files].sort((a, b) => b.bytes - a.bytes).slice(0, MOST_FILES);
  const line = layer.line === undefined ? '' : ` (line ${layer.line})`;
  const counted = `${files.length} file${files.length === 1 ? '' : 's'}`;
  return html`<details>
    <summary>
      <b>${humanSize(layer.bytes, 3)}</b> layer ${index + 1}: <code>${layer.title}</code>${line},
      ${counted}${layer.wasted === 0 ? '' : html`, <span class="bad">${humanSize(layer.wasted, 3)} wasted</span>`}
    </summary>
    ${tree(shown)}
    ${shown.length < files.length ? html`<p class="soft">The ${MOST_FILES} largest of ${files.length} files.</p>` : ''}
    <p class="soft mono">${layer.diffId}</p>
  </details>`;
}

/** Files by their directories; a directory with a single one in it is shown together with that. */
function tree(files: readonly ReportFile[]): Html {
  const root: Folder = { folders: new Map(), files: [] };
  for (const file of files) {
    let at = root;
    for (const name of file.path.split('/').slice(1, -1)) {
      const next = at.folders.get(name) ?? { folders: new Map(), files: [] };
      at.folders.set(name, next);
      at = next;
    }
    at.files.push(file);
  }
  return folderItems(root);
}

function folderItems(folder: Folder): Html {
  return html`<ul class="tree">
    ${[...folder.folders].map(([name, inner]) => folderItem(name, inner))}${folder.files.map(fileItem)}
  </ul>`;
}

function folderItem(name: string, folder: Folder): Html {
  const [only] = folder.folders;
  if (only !== undefined && folder.folders.size === 1 && folder.files.length === 0)
    return folderItem(`${name}/${only[0]}`, only[1]);
  const { bytes, count } = sizeOf(folder);
  return html`<li>
    <details>
      <summary>
        <code>${name}/</code>
        <span class="soft">${humanSize(bytes, 3)}, ${count} file${count === 1 ? '' : 's'}</span>
      </summary>
      ${folderItems(folder)}
    </details>
  </li>`;
}

function sizeOf({ folders, files }: Folder): { readonly bytes: number; readonly count: number } {
  return [...folders.values()]
    .map(sizeOf)
    .reduce((sum, inner) => ({ bytes: sum.bytes + inner.bytes, count: sum.count + inner.count }), {
      bytes: files.reduce((sum, file) => sum + file.bytes, 0),
      count: files.length,
    });
}

function fileItem({ path, bytes, kind, lost }: ReportFile): Html {
  const later =
    lost === undefined
      ? ''
      : html` <span class="bad">${lost.how} in layer ${lost.layer + 1}</span>`;
  return html`<li>
    <code>${path.slice(path.lastIndexOf('/') + 1)}</code>
    <span class="soft">${kind === 'deleted' ? 'deleted' : humanSize(bytes, 3)}</span>${later}
  </li>`;
}

/** By instruction: what of its files no container will see. */
function wasted(layers: readonly ReportLayer[]): Html | undefined {
  const found = layers
    .map((layer, index) => ({ layer, index }))
    .filter(({ layer }) => layer.wasted > 0)
    .sort((a, b) => b.layer.wasted - a.layer.wasted);
  if (found.length === 0) return undefined;
  return html`<h2>Wasted bytes</h2>
    <p class="soft">
      Files that a later instruction overwrites or deletes: they are in the image, but nobody sees
      them.
    </p>
    <div class="wide">
      <table>
        <thead>
          <tr>
            <th>Instruction</th>
            <th class="number">Line</th>
            <th class="number">Wasted</th>
            <th>Largest</th>
          </tr>
        </thead>
        <tbody>
          ${found.map(({ layer }) => {
            const [largest] = layer.files
              .filter((file) => file.lost !== undefined)
              .sort((a, b) => b.bytes - a.bytes);
            const culprit = largest?.lost === undefined ? undefined : layers[largest.lost.layer];
            return html`<tr>
              <td><code>${layer.title}</code></td>
              <td class="number">${layer.line ?? ''}</td>
              <td class="number">${humanSize(layer.wasted, 3)}</td>
              <td>
                <code>${largest?.path ?? ''}</code> ${largest?.lost?.how ?? ''} by
                <code>${culprit?.title ?? ''}</code>
              </td>
            </tr>`;
          })}
        </tbody>
      </table>
    </div>`;
}
