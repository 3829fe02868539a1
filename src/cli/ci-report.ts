import { appendFileSync, statSync } from 'node:fs';
import type { BuildOptions, BuildResult } from '../build';
import { errnoOf, type Diagnostic } from '../diagnostics/error';
import { diagnosticToJson, errorToJson, type ErrorJson } from '../diagnostics/render';
import type { Engine } from '../engine';
import type { BuildScope } from '../progress/events';
import { githubAnnotations, type Annotation } from '../progress/github';
import { failureSummary, jobSummary, type SummarizedBuild } from '../report/job-summary';
import { imageSize } from './format/images';
import { note, type Host } from './host';
import { sourcePath } from './source-path';

/** Bytes that GitHub takes of a step's summary: docs, "Step isolation and limits". */
const SUMMARY_LIMIT = 1024 * 1024;

/** What GitHub Actions is told of builds besides their log: annotations at lines of files, and the job's summary. */
export class GithubReport {
  readonly #warnings: Diagnostic[] = [];
  readonly #started: number;

  /** @param builds where the files are that diagnostics name. */
  constructor(
    readonly builds: readonly Pick<BuildOptions, 'context'>[],
    readonly host: Host,
  ) {
    this.#started = host.now();
  }

  /** The scope of a build whose warnings are to be told. */
  watch(scope: BuildScope): BuildScope {
    return {
      ...scope,
      events: (event) => {
        if (event.kind === 'warning') this.#warnings.push(event.diagnostic);
        scope.events(event);
      },
    };
  }

  /** Tells of builds that went well. @param named by target; of one build without a name. */
  done(named: readonly (readonly [string | undefined, BuildResult])[], engine: Engine): void {
    const builds = named.map(([title, result]) => ({
      title,
      result,
      size: sizeOf(result, engine),
    }));
    this.annotate(this.#warnings.map(diagnosticToJson));
    this.#summarize(jobSummary(builds, this.host.now() - this.#started));
  }

  /** Tells of a failure. */
  failed(error: unknown): void {
    const json = errorToJson(error);
    this.annotate([json, ...(json.others ?? []), ...this.#warnings.map(diagnosticToJson)]);
    this.#summarize(failureSummary(json));
  }

  annotate(diagnostics: readonly ErrorJson[]): void {
    const unique = new Map(diagnostics.map((each) => [JSON.stringify(each), each]));
    this.host.err.order(
      githubAnnotations([...unique.values()].map((each) => this.#annotationOf(each))),
    );
  }

  #annotationOf({ severity, code, message, file, line, endLine, hint }: ErrorJson): Annotation {
    const path = file === undefined ? undefined : sourcePath(file, this.builds, this.host.env);
    return {
      severity,
      title: code,
      message: hint === undefined ? message : `${message}\n${hint}`,
      ...(path === undefined ? {} : { file: path, line, endLine }),
    };
  }

  /** Adds to the file that the runner made for this step. A summary that can't be written is no failure of the build. */
  #summarize(text: string): void {
    const file = this.host.env['GITHUB_STEP_SUMMARY'];
    if (file === undefined || file === '') return;
    try {
      const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
      if (size + Buffer.byteLength(text) < SUMMARY_LIMIT) appendFileSync(file, text);
      else note(this.host, 'the job summary is full: this build is not in it');
    } catch (error) {
      note(this.host, `cannot write the job summary ${file} (${errnoOf(error) ?? 'error'})`);
    }
  }
}

function sizeOf({ imageId }: BuildResult, { images, layers }: Engine): SummarizedBuild['size'] {
  const image = imageId === undefined ? undefined : images.find(imageId);
  return image === undefined ? undefined : imageSize(image, layers);
}
