import { APK } from './ecosystems/apk';
import { CARGO } from './ecosystems/cargo';
import { COMPOSER } from './ecosystems/composer';
import { DEB } from './ecosystems/deb';
import { GEM } from './ecosystems/gem';
import { GOLANG } from './ecosystems/golang';
import { MAVEN } from './ecosystems/maven';
import { NPM } from './ecosystems/npm';
import { NUGET } from './ecosystems/nuget';
import { PYPI } from './ecosystems/pypi';
import { RPM } from './ecosystems/rpm';
import type { Ecosystem } from './package';

/** The package managers whose records are read. A new one is a file in ecosystems/ and a line here. */
export const ECOSYSTEMS: readonly Ecosystem[] = [
  DEB,
  APK,
  RPM,
  NPM,
  PYPI,
  GEM,
  GOLANG,
  CARGO,
  MAVEN,
  COMPOSER,
  NUGET,
];
