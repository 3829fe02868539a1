import fc from 'fast-check';
import { isMbuildError } from '../../src/diagnostics/error';
import { parseTemplate } from '../../src/cli/format/go-template';
import { NilSlice, goJson } from '../../src/cli/format/go-value';
import { goDuration } from '../../src/cli/format/time';

const interval = { goString: () => goDuration(5e9), toJSON: () => 5e9 };

/**
 * An image as `docker inspect` sees it; every expected text of the tables is what docker 28 printed
 * for it.
 */
const image = {
  Id: 'sha256:4483fae84cb7b92fbb14b8ff1f54d76e8b758b67621b076f3533283b81ae513c',
  RepoTags: ['clitest:2'],
  RepoDigests: [],
  Author: '',
  Created: '2026-11-21T01:54:41.683430564Z',
  Architecture: 'amd64',
  Os: 'linux',
  Size: 3967013,
  RootFS: { Type: 'layers', Layers: ['sha256:3c45', 'sha256:35a4'] },
  Config: {
    User: '',
    Env: ['PATH=/usr/bin:/bin', 'A=b', 'C=d e'],
    Cmd: ['sh', '-c', 'echo hi'],
    Entrypoint: new NilSlice(),
    WorkingDir: '/app',
    Labels: new Map([['x', 'y']]),
    ExposedPorts: new Map([['80/tcp', {}]]),
    Volumes: new Map([['/data', {}]]),
    Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: interval },
  },
};

function render(template: string, data: unknown = image): string {
  return parseTemplate(template).execute(data);
}

describe('Go templates', () => {
  test.each([
    ['{{.Os}}', 'linux'],
    ['{{json .Config.Env}}', '["PATH=/usr/bin:/bin","A=b","C=d e"]'],
    [
      '{{range $i, $e := .Config.Env}}[{{$i}}={{$e}}]{{end}}',
      '[0=PATH=/usr/bin:/bin][1=A=b][2=C=d e]',
    ],
    ['{{index .Config.Labels "x"}}', 'y'],
    ['{{index .Config.Labels "nope"}}|', '|'],
    ['{{index .Config.Labels}}', 'map[x:y]'],
    ['{{index .Config.Env 1}}', 'A=b'],
    ['{{len .RepoTags}}', '1'],
    ['{{len .Config.Labels}} {{len "abc"}} {{len .Config.Volumes}}', '1 3 1'],
    ['{{.Config.Labels}}', 'map[x:y]'],
    ['{{.Config.Env}}', '[PATH=/usr/bin:/bin A=b C=d e]'],
    ['{{.Size}}', '3967013'],
    ['{{.Architecture|upper}}', 'AMD64'],
    ['{{if eq .Os "linux"}}L{{else}}N{{end}}', 'L'],
    ['{{.Config.User}}|', '|'],
    ['{{printf "%s-%q %d %5s|%-5s|" .Os .Os 3 "a" "b"}}', 'linux-"linux" 3     a|b    |'],
    [
      '{{printf "%.3s|%x|%05d|%t|%%|%+v" .Os .Os 42 true .Config.Labels}}',
      'lin|6c696e7578|00042|true|%|map[x:y]',
    ],
    ['{{printf "%v" .Config.Env}}', '[PATH=/usr/bin:/bin A=b C=d e]'],
    ['{{join .Config.Env ","}}', 'PATH=/usr/bin:/bin,A=b,C=d e'],
    ['{{.Config.ExposedPorts}}', 'map[80/tcp:{}]'],
    ['{{.Config.Entrypoint}}', '[]'],
    ['{{json .Config.Entrypoint}}', 'null'],
    ['{{range .Config.Env}}{{println .}}{{end}}', 'PATH=/usr/bin:/bin\nA=b\nC=d e\n'],
    ['{{range .Config.Entrypoint}}x{{else}}none{{end}}', 'none'],
    ['{{with .Config.User}}u={{.}}{{else}}no user{{end}}', 'no user'],
    ['{{with .Os}}os={{.}}{{end}}', 'os=linux'],
    ['{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}', 'x=y;'],
    ['{{.Config.Healthcheck.Interval}} {{json .Config.Healthcheck.Interval}}', '5s 5000000000'],
    ['{{title .Os}} {{lower "ABC"}} {{upper .Os}}', 'Linux abc LINUX'],
    ['{{split "a,b,c" ","}}', '[a b c]'],
    ['{{range split "a,b,c" ","}}<{{.}}>{{end}}', '<a><b><c>'],
    ['{{pad .Os 2 3}}|', '  linux   |'],
    ['{{truncate .Id 10}}', 'sha256:448'],
    ['{{if and .Os (not .Config.User)}}yes{{end}}', 'yes'],
    ['{{if or .Config.User .Author}}a{{else if .Os}}b{{end}}', 'b'],
    ['{{/* comment */}}x', 'x'],
    ['a {{- /* comment */ -}} b', 'ab'],
    ['a {{- .Os -}} b', 'alinuxb'],
    ['{{slice .Id 7 19}}', '4483fae84cb7'],
    [
      '{{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 1}} {{eq .Os "a" "linux"}}',
      'true true true false true true',
    ],
    [
      '{{html "<a&b>"}} {{js "it\'s"}} {{urlquery "a b&c"}} {{print 1 2 "a" "b" 3}}',
      "&lt;a&amp;b&gt; it\\'s a+b%26c 1 2ab3",
    ],
    ['{{$x := .Os}}{{$x}}{{$x = "new"}}{{$x}}', 'linuxnew'],
    ['{{range $e := .Config.Env}}{{$.Os}}{{break}}{{end}}', 'linux'],
    [
      '{{range .Config.Env}}{{if eq . "A=b"}}{{continue}}{{end}}<{{.}}>{{end}}',
      '<PATH=/usr/bin:/bin><C=d e>',
    ],
    ['{{true}} {{1.5}} {{"q\\n"}} {{`raw\\n`}} {{\'a\'}} {{0x10}}', 'true 1.5 q\n raw\\n 97 16'],
    ['{{.Config.Labels.x}} {{.Config.Labels.missing}}', 'y <no value>'],
    ['{{(index .Config.Env 0)}} {{(len .Config.Env)}}', 'PATH=/usr/bin:/bin 3'],
    ['{{"a" | printf "%s-%s" "b"}}', 'b-a'],
    [
      '{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}',
      'PATH=/usr/bin:/bin,A=b,C=d e',
    ],
    ['{{json .Created}} {{json "<>&"}}', '"2026-11-21T01:54:41.683430564Z" "<>&"'],
    ['{{define "t"}}T{{.}}{{end}}{{template "t" .Os}}', 'Tlinux'],
    ['{{block "b" .Os}}B{{.}}{{end}}', 'Blinux'],
    ['{{range 3}}{{.}}{{end}}', '012'],
    ['{{not .Os}} {{and 1 0 2}} {{or 0 "" 5}}', 'false 0 5'],
    ['{{.Config.WorkingDir}}{{"\\t"}}x', '/app\tx'],
    ['{{range $k, $v := .Config.Volumes}}{{$k}} {{$v}}{{end}}', '/data {}'],
    ['{{range .RootFS.Layers}}{{slice . 0 9}} {{end}}', 'sha256:3c sha256:35 '],
    ['{{(.Config).WorkingDir}} {{.Config.WorkingDir | len}}', '/app 4'],
    ['{{ .Os }} {{ $.Os }}', 'linux linux'],
    ['{{if not (eq .Os "windows")}}nix{{end}}', 'nix'],
    ['no action', 'no action'],
  ])('%s gives what docker gives', (template, expected) => {
    expect(render(template)).toBe(expected);
  });

  test.each([
    ['{{foo .Os}}', 'template parsing error: template: :1: function "foo" not defined'],
    ['{{toString .Os}}', 'template parsing error: template: :1: function "toString" not defined'],
    ['{{.Os', 'template parsing error: template: :1: unclosed action'],
    ['{{if .Os}}', 'template parsing error: template: :1: unexpected EOF'],
    ['{{end}}', 'template parsing error: template: :1: unexpected {{end}}'],
    [
      '{{.Foo}}',
      'template parsing error: template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"',
    ],
    [
      '{{index .Config.Cmd 9}}',
      'template parsing error: template: :1:2: executing "" at <index .Config.Cmd 9>: error calling index: index out of range: 9',
    ],
    [
      '{{upper}}',
      'template parsing error: template: :1:2: executing "" at <upper>: wrong number of args for upper: want 1 got 0',
    ],
    [
      '{{len 3}}',
      'template parsing error: template: :1:2: executing "" at <len 3>: error calling len: len of type int',
    ],
    [
      '{{true}} {{nil}}',
      'template parsing error: template: :1:11: executing "" at <nil>: nil is not a command',
    ],
    ['{{table .Os}}', 'template parsing error: template: :1: function "table" not defined'],
    ['{{"open}}', 'template parsing error: template: :1: unterminated quoted string'],
    ['{{break}}', 'template parsing error: template: :1: {{break}} outside {{range}}'],
    ['{{}}', 'template parsing error: template: :1: missing value for command'],
    ['{{$x}}', 'template parsing error: template: :1: undefined variable "$x"'],
    [
      '{{define "a"}}{{template "a"}}{{end}}{{template "a"}}',
      'template parsing error: template: :1: exceeded maximum template depth (200)',
    ],
  ])('%s is refused as docker refuses it', (template, message) => {
    expect(() => render(template)).toThrow(
      expect.objectContaining({ code: 'USAGE', message }) as Error,
    );
  });

  test('no text is a crash', () => {
    const piece = fc.constantFrom(
      '{{',
      '}}',
      '{{-',
      '-}}',
      '.Os',
      ' ',
      '$x',
      ':=',
      '|',
      '(',
      ')',
      'if',
      'range',
      'end',
      'else',
      '"a"',
      '1',
      'len',
      'index',
      '.Config.Env',
      '/*',
      '*/',
      ',',
      '`',
      'with',
      'define',
    );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 12 }),
        (pieces) => {
          try {
            render(pieces.join(''));
          } catch (error) {
            expect(isMbuildError(error, 'USAGE')).toBe(true);
          }
        },
      ),
    );
  });

  test('JSON has sorted maps, and HTML escaped where Go does it by itself', () => {
    expect(
      goJson(
        new Map([
          ['b', 1],
          ['a', 2],
        ]),
      ),
    ).toBe('{"a":2,"b":1}');
    expect(goJson({ Tag: '<none>&' }, { escapeHtml: true })).toBe(
      '{"Tag":"\\u003cnone\\u003e\\u0026"}',
    );
  });
});
