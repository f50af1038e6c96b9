// lib/config/files.ts: what a line of an env file may be, and that dotenv loses nothing in silence.
import assert from "node:assert/strict";
import { parseEnv } from "../../../lib/config/files.ts";
import { secret } from "../../../lib/core/object.ts";

const isSecret = (name: string) => name.endsWith("_KEY");

function values(text: string): Record<string, string> {
  const { entries, problems } = parseEnv(text, "a.env", isSecret);
  assert.deepEqual(problems, []);
  return Object.fromEntries([...entries].map(([name, { value }]) => [name, value]));
}

function problems(text: string): string[] {
  return parseEnv(text, "a.env", isSecret).problems
    .map((line) => line.replace(/^a\.env:(\d+) {2}/, "$1: "));
}

Deno.test("parseEnv() gives values with their lines", () => {
  const { entries } = parseEnv(
    "# first\n\nA=1\n  B='two'\nC='x\ny'\nD=4 # four\n",
    "a.env",
    isSecret,
  );
  assert.deepEqual([...entries], [
    ["A", { value: "1", source: "a.env:3" }],
    ["B", { value: "two", source: "a.env:4" }],
    ["C", { value: "x\ny", source: "a.env:5" }],
    ["D", { value: "4", source: "a.env:7" }],
  ]);
});

Deno.test("A3: a duplicate is named with both lines", () => {
  assert.deepEqual(problems("A=1\nB=2\nA=3\n"), ["3: A is set twice: first in line 1"]);
});

Deno.test("A4: malformed lines are named by number, without their text", () => {
  const found = problems("hush\nhush=x\nexport A=hush\nA: hush\nÄ=hush\nA =hush\n=hush\nB='hush\n");
  assert.deepEqual(found.map((text) => text.split(":")[0]), [
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
  ]);
  assert.ok(!found.join().includes("hush"));
});

Deno.test("A4: an unclosed quote ends at its own line", () => {
  const { entries, problems } = parseEnv("A=`x\nB=2\n", "a.env", isSecret);
  assert.equal(problems.length, 1);
  assert.equal(entries.get("B")?.value, "2");
});

Deno.test("A8: CRLF, BOM, trailing blanks and a missing last newline change nothing", () => {
  assert.deepEqual(values("\uFEFFA=1  \r\nB='x'\t\r\n\r\nC='x\r\ny'\r\n# end\r\nD=4"), {
    A: "1",
    B: "x",
    C: "x\ny",
    D: "4",
  });
});

Deno.test("A9: only a line's end ends a line: U+2028 cuts no value, and no comment sets one", () => {
  assert.deepEqual(values("A=x\u2028y\n# see\u2028B=1\nC=3"), { A: "x\u2028y", C: "3" });
});

Deno.test("A9: a secret arrives byte for byte in its Secret", () => {
  const nasty = [
    ..."'\"$`\\#= \t{}*&!%@:",
    " leading and trailing ",
    "line one\nline two  \n#line three",
    "a#b",
    "$HOME ${HOME} $(id) `id`",
    "back\\slash\\n\\t",
    "비밀번호-пароль-🔑",
    "x".repeat(1024),
    `it's "quoted"`,
  ];
  for (const text of nasty) {
    for (const quote of ["'", "`"].filter((quote) => !text.includes(quote))) {
      const line = `A_KEY=${quote}${text}${quote}`;
      if (text.endsWith("\\")) continue; // refused: dotenv reads \' as part of the value
      const value = values(`${line}\nB=2\n`).A_KEY!;
      assert.equal(value, text);
      const { data } = secret("s", "n", { key: value });
      assert.equal(new TextDecoder().decode(Uint8Array.fromBase64(data.key)), text);
    }
  }
});

Deno.test("A9: an unquoted # in a secret is refused, and so is one that cuts another value", () => {
  for (const text of ["A_KEY=a#b", "A_KEY=a #b", "A_KEY=#b"]) {
    assert.match(problems(text).join(), /^1: A_KEY is a secret with a # that would cut it/);
  }
  assert.match(problems("A=a#b").join(), /^1: A has a # that would cut it/);
  assert.deepEqual(values("A=a # b\nB=#c\nC_KEY='a#b' # c"), { A: "a", B: "", C_KEY: "a#b" });
});

Deno.test("parseEnv() refuses a quote that would end early", () => {
  assert.match(problems(`A='it's'`).join(), /text after the closing quote/);
  assert.match(problems(`A="a\\"b"`).join(), /a backslash before a quote/);
});

Deno.test("A10: texts that YAML would retype stay texts", () => {
  for (const text of ["no", "0123", "1e3", "null", "{{x}}", "*a", "2026-11-22", "~", "0x1F"]) {
    assert.equal(values(`A=${text}`).A, text);
  }
});
