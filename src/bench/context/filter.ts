import type { IgnoreRules, IgnoreState } from '../../context/ignore';
import { toText, type RawPath } from '../../linux/paths';

/** What a file or a directory of a commit brings when it is copied. */
export interface Summary {
  /** Stands for all that shows in a copy: names, kinds, contents. Equal contents, equal digest. */
  readonly digest: string;
  /** Of its files. */
  readonly bytes: number;
  readonly files: number;
  /** Files that stand for others, which git LFS keeps elsewhere. */
  readonly pointers: number;
  /** A directory with nothing in it. */
  readonly isEmpty: boolean;
}

/** What rules say of one name in a directory. */
export interface Verdict {
  /** Not selected by itself. */
  readonly ignored: boolean;
  /** An ignored directory may hold what is brought back, so that it shows where it does. */
  readonly mayHold: boolean;
  /** Of a directory. */
  readonly filter?: DirectoryFilter | undefined;
}

/** One set of rules, and where they count from. */
interface Layer {
  readonly rules: IgnoreRules;
  /** Path of the directory for these rules; empty for where they count from. */
  readonly path: RawPath;
  readonly state: IgnoreState;
}

/**
 * What of a directory is selected: of the context by its ignore file, of a COPY besides by `--exclude`. Verdicts and all
 * that is found out below are kept, so that the next commit asks for what changed alone.
 */
export class DirectoryFilter {
  readonly #verdicts = new Map<RawPath, Verdict>();
  /** Sums of trees that were seen here, by the tree's id. */
  readonly known = new Map<string, Summary>();

  private constructor(private readonly layers: readonly Layer[]) {}

  /** @param rules of the context; none where all of it is selected. */
  static ofContext(rules: IgnoreRules | undefined): DirectoryFilter {
    return new DirectoryFilter(
      rules === undefined || rules.isEmpty ? [] : [{ rules, path: '', state: [] }],
    );
  }

  /** The same with the rules of `--exclude`, which count from this directory. */
  excluding(rules: IgnoreRules): DirectoryFilter {
    return new DirectoryFilter([...this.layers, { rules, path: '', state: [] }]);
  }

  verdict(name: RawPath, isDirectory: boolean): Verdict {
    const key = isDirectory ? `${name}/` : name;
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    const verdict = this.#decide(name, isDirectory);
    this.#verdicts.set(key, verdict);
    return verdict;
  }

  #decide(name: RawPath, isDirectory: boolean): Verdict {
    let ignored = false;
    let mayHold = true;
    const below = this.layers.map(({ rules, path, state }): Layer => {
      const at = path === '' ? name : `${path}/${name}`;
      const result = rules.match(at, isDirectory, state);
      ignored ||= result.ignored;
      mayHold &&= !result.ignored || rules.mayDescend(toText(at));
      return { rules, path: at, state: result.state };
    });
    return isDirectory
      ? { ignored, mayHold, filter: new DirectoryFilter(below) }
      : { ignored, mayHold: false };
  }
}
