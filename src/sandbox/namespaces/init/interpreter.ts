/**
 * The sandbox's init: a static program of some hundred bytes that reads a list of system calls and
 * makes them.
 *
 * A process must enter its namespaces, mount, drop its rights and execute in one go, between fork
 * and exec, where Node cannot run code; chains of `unshare`, `mount` and `setpriv` cost a process
 * each and differ between distributions. So the decisions are taken in TypeScript, as data
 * (program.ts), and this loop carries them out:
 *
 *     map the program, which is open as file descriptor 3, at BASE
 *     record = BASE + 16
 *     loop:  result = syscall(record.number, record.arguments[0..5])
 *            *record.store = result
 *            if result is an error:  BASE[0] = record; BASE[8] = result; record = record.onError
 *            else if result == 0:    record = record.onZero
 *            else                    record = record.onPositive
 *
 * The listings below are what an assembler makes of it; the test assembles nothing but runs them.
 */
export type Arch = 'x64' | 'arm64';

/** Where the program is mapped; its addresses are absolute. */
export const BASE = 0x10000000;

/** The most bytes a program may have. */
export const MAX_PROGRAM = 0x01000000;

/** File descriptor on which the program is handed over. */
export const PROGRAM_FD = 3;

const X64 = `
  b8 09 00 00 00        mov  eax, 9              mmap(
  bf 00 00 00 10        mov  edi, 0x10000000       BASE,
  be 00 00 00 01        mov  esi, 0x01000000       MAX_PROGRAM,
  ba 03 00 00 00        mov  edx, 3                PROT_READ|PROT_WRITE,
  41 ba 12 00 00 00     mov  r10d, 0x12            MAP_PRIVATE|MAP_FIXED,
  41 b8 03 00 00 00     mov  r8d, 3                PROGRAM_FD,
  45 31 c9              xor  r9d, r9d              0)
  0f 05                 syscall
  48 89 c5              mov  rbp, rax
  48 8d 58 10           lea  rbx, [rax+16]       first record
  48 8b 03              mov  rax, [rbx]          next:
  48 8b 7b 08           mov  rdi, [rbx+8]
  48 8b 73 10           mov  rsi, [rbx+16]
  48 8b 53 18           mov  rdx, [rbx+24]
  4c 8b 53 20           mov  r10, [rbx+32]
  4c 8b 43 28           mov  r8, [rbx+40]
  4c 8b 4b 30           mov  r9, [rbx+48]
  0f 05                 syscall
  48 8b 4b 38           mov  rcx, [rbx+56]       store
  48 89 01              mov  [rcx], rax
  48 8d 4b 40           lea  rcx, [rbx+64]       onError
  48 3d 01 f0 ff ff     cmp  rax, -4095
  73 12                 jae  error
  48 83 c1 08           add  rcx, 8              onZero
  48 85 c0              test rax, rax
  74 04                 jz   go
  48 83 c1 08           add  rcx, 8              onPositive
  48 8b 19              mov  rbx, [rcx]          go:
  eb be                 jmp  next
  48 89 5d 00           mov  [rbp], rbx          error:
  48 89 45 08           mov  [rbp+8], rax
  eb f1                 jmp  go
`;

const ARM64 = `
  c8 1b 80 d2   mov  x8, #222                    mmap(
  00 00 a2 d2   mov  x0, #0x10000000               BASE,
  01 20 a0 d2   mov  x1, #0x01000000               MAX_PROGRAM,
  62 00 80 d2   mov  x2, #3                        PROT_READ|PROT_WRITE,
  43 02 80 d2   mov  x3, #0x12                     MAP_PRIVATE|MAP_FIXED,
  64 00 80 d2   mov  x4, #3                        PROGRAM_FD,
  05 00 80 d2   mov  x5, #0                        0)
  01 00 00 d4   svc  #0
  f3 03 00 aa   mov  x19, x0
  14 40 00 91   add  x20, x0, #16                first record
  88 02 40 f9   ldr  x8, [x20]                   next:
  80 86 40 a9   ldp  x0, x1, [x20, #8]
  82 8e 41 a9   ldp  x2, x3, [x20, #24]
  84 96 42 a9   ldp  x4, x5, [x20, #40]
  01 00 00 d4   svc  #0
  89 1e 40 f9   ldr  x9, [x20, #56]              store
  20 01 00 f9   str  x0, [x9]
  8a 02 01 91   add  x10, x20, #64               onError
  1f fc 3f b1   cmn  x0, #4095
  c2 00 00 54   b.cs error
  4a 21 00 91   add  x10, x10, #8                onZero
  40 00 00 b4   cbz  x0, go
  4a 21 00 91   add  x10, x10, #8                onPositive
  54 01 40 f9   ldr  x20, [x10]                  go:
  f2 ff ff 17   b    next
  74 02 00 a9   stp  x20, x0, [x19]              error:
  fd ff ff 17   b    go
`;

const LOAD_ADDRESS = 0x400000n;
const HEADERS = 64 + 56;

/**
 * The executable file for an architecture: ELF-64 (System V ABI, chapter 4), one read-and-execute
 * segment.
 */
export function interpreterFile(arch: Arch): Buffer {
  const code = codeOf(arch === 'x64' ? X64 : ARM64);
  const file = Buffer.alloc(HEADERS + code.length);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // magic, 64 bits, little endian, version
  file.writeUInt16LE(2, 16); // ET_EXEC
  file.writeUInt16LE(arch === 'x64' ? 62 : 183, 18); // EM_X86_64, EM_AARCH64
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(LOAD_ADDRESS + BigInt(HEADERS), 24); // entry
  file.writeBigUInt64LE(64n, 32); // program headers' offset
  file.writeUInt16LE(64, 52); // size of this header
  file.writeUInt16LE(56, 54); // size and number of program headers
  file.writeUInt16LE(1, 56);
  file.writeUInt16LE(64, 58); // size of a section header; there are none
  file.writeUInt32LE(1, 64); // PT_LOAD
  file.writeUInt32LE(5, 68); // PF_R | PF_X
  file.writeBigUInt64LE(LOAD_ADDRESS, 80); // virtual address
  file.writeBigUInt64LE(LOAD_ADDRESS, 88);
  file.writeBigUInt64LE(BigInt(file.length), 96); // size in the file and in memory
  file.writeBigUInt64LE(BigInt(file.length), 104);
  file.writeBigUInt64LE(0x10000n, 112); // alignment
  file.set(code, HEADERS);
  return file;
}

/** The bytes at the start of each line of a listing. */
function codeOf(listing: string): Buffer {
  const lines = listing.trim().split('\n');
  return Buffer.from(
    lines
      .map((line) => /^\s*((?:[0-9a-f]{2} )+)/.exec(`${line} `)?.[1] ?? '')
      .join('')
      .replace(/ /g, ''),
    'hex',
  );
}
