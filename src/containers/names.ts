import { randomInt } from 'node:crypto';

const ADJECTIVES = [
  'amber', 'bold', 'brisk', 'calm', 'candid', 'clever', 'cosy', 'daring', 'deft', 'eager', 'early', 'fair', 'fond', 'frank', 'gentle', 'glad',
  'golden', 'happy', 'hardy', 'honest', 'jolly', 'keen', 'kind', 'lively', 'lucid', 'merry', 'mild', 'nimble', 'noble', 'patient', 'plucky', 'polite',
  'proud', 'quick', 'quiet', 'ready', 'robust', 'serene', 'sharp', 'silent', 'sincere', 'snug', 'sober', 'steady', 'sunny', 'swift', 'tidy', 'upright',
  'vivid', 'warm', 'wise', 'witty',
];
const SURNAMES = [
  'allen', 'babbage', 'backus', 'bell', 'boole', 'brunel', 'curie', 'darwin', 'dijkstra', 'euclid', 'euler', 'faraday', 'fermat', 'fourier', 'galois', 'gauss',
  'germain', 'goedel', 'goldberg', 'hamilton', 'hertz', 'hilbert', 'hopper', 'huygens', 'hypatia', 'johnson', 'kepler', 'kernighan', 'knuth', 'lamarr', 'lamport',
  'leibniz', 'liskov', 'lovelace', 'maxwell', 'meitner', 'mendel', 'newton', 'noether', 'pascal', 'perlman', 'planck', 'ritchie', 'shannon', 'tesla', 'thompson',
  'torvalds', 'turing', 'volta', 'watt', 'wiles', 'wirth',
];

/** docker's rule, so that scripts find the same names to be possible. moby, daemon/names. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** A name out of two words, as `steady_hopper`; with a number behind it from the third try on, so that there is always a free one. */
export function randomName(tries: number): string {
  const name = `${ADJECTIVES[randomInt(ADJECTIVES.length)] ?? 'plain'}_${SURNAMES[randomInt(SURNAMES.length)] ?? 'name'}`;
  return tries < 3 ? name : `${name}${randomInt(10 ** Math.min(tries - 2, 9))}`;
}

/** True for what a container may be called. */
export function isContainerName(text: string): boolean {
  return NAME.test(text);
}
