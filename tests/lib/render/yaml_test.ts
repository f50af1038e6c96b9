// Texts that readers of YAML take for different things: ours, those of 1.1, and kubectl's.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { $ } from "zx";
import { projectPath } from "../../../lib/core/cluster.ts";
import { toYaml } from "../../../lib/render/yaml.ts";
import { parseObjects } from "../../support/strict_yaml.ts";

const WORDS = "y Y yes Yes YES yES n N no NO on On ON off Off OFF true True FALSE null Null ~ NaN";
const NUMBERS =
  "0 -0 12 +12 012 -017 08 0o7 0O7 -0o7 0x1F 0X1f -0x1f 0b10 0B10 +0b1 1_000 1__0 _1 1_ " +
  "0x_1 -_8 +_.59 -_0_x1 0b-_1 5e_-5 1:20 -1:20 190:20:30 1:20.5 1:60 12:30:45 -1_2e3_4567 1e3 1E+3 e5 E5 1.5e3 . .5 -.5 5. 1. 1_0.5_0 .inf " +
  "-.Inf +.INF .nan .NaN infinity 18446744073709551616 1.2.3 v1.2 10.0.0.1 10.0.0.1:80 8080:80";
const DATES = ["2001-01-01", "2001-1-1", "2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43.10"];
const SIGNS =
  "<<|=|-|--- a|...|? a|: |a: b|# a|a #b|&a|*a|!a|!!bool yes|%YAML 1.1|@a|`a`|>|[a]|{a}|" +
  "'a'|\"a\"|$(A)|${A}||a\tb| ";
const LINES = ["a\nb", "a\n", "\na", "off\n", "\u007fa", "a\u0085b", 'a\u0085"b"', "\u009f"]
  .concat(
    "a\u2028b",
    "\ufeffa",
    "\uffffa",
    "가나다",
    "\u{1f600}",
    "x".repeat(200),
    "off ".repeat(50),
  );
/** Texts of letters that readers take for numbers, words and signs; the same in each run. */
function madeUp(): string[] {
  let seed = 19;
  const next = (below: number) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % below;
  return [
    "0179_.:-+eExXoObBaf",
    "yYnNoOfFesESrtuTRUL~.",
    "01:.-T tZ",
    "<=>|&*!%@`#?-,[]{} '\"\\ab:",
  ]
    .flatMap((letters) =>
      Array.from(
        { length: 500 },
        () => Array.from({ length: 1 + next(7) }, () => letters[next(letters.length)]).join(""),
      )
    );
}

const KNOWN = [...`${WORDS} ${NUMBERS}`.split(" "), ...DATES, ...SIGNS.split("|"), "|", ...LINES];
const TEXTS = [...new Set([...KNOWN, ...madeUp()])];

const nasty = {
  apiVersion: "example.org/v1",
  kind: "Nasty",
  metadata: { name: "texts" },
  values: TEXTS,
  keys: Object.fromEntries(TEXTS.map((text, index) => [text, index])),
  numbers: [0, -1, 0.5, 1e21, 1e-7, 420, true, false, null],
};

const WAYS = [
  {},
  { lineWidth: 0 },
  { sortMapEntries: true, lineWidth: 0 },
  { defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN", lineWidth: 0 },
] as const;

for (const way of WAYS) {
  const text = toYaml(nasty, way);
  const how = JSON.stringify(way);

  for (const version of ["1.1", "1.2"] as const) {
    Deno.test(`P16: toYaml(${how}) gives every text back to a reader of YAML ${version}`, () => {
      assert.deepEqual(parse(text, { version }), nasty);
    });
  }

  Deno.test(`P16: toYaml(${how}) gives every text back to kubectl`, async () => {
    const words = ["annotate", "--local", "--filename", "-", "--output", "json", "read-by=kubectl"];
    const { stdout } = await $({ quiet: true, input: text })`kubectl ${words}`;
    const { metadata, ...rest } = JSON.parse(stdout);
    assert.equal(metadata.annotations["read-by"], "kubectl");
    assert.deepEqual({ ...rest, metadata: { name: metadata.name } }, nasty);
  });
}

Deno.test("P16: toYaml() writes what is plain to everybody as it was", () => {
  const plain = { a: ["10.0.0.1:80", "5m", 'a = "b"', "v1.2.3", true, 12], "b c": { d: "e: f\n" } };
  assert.equal(toYaml(plain), stringify(plain));
});

Deno.test("P16: nothing but toYaml() writes YAML", async () => {
  for (const root of ["lib", "scripts"].map(projectPath)) {
    for (const name of await readdir(root, { recursive: true })) {
      if (!name.endsWith(".ts") || name === "render/yaml.ts") continue;
      const text = await readFile(join(root, name), "utf8");
      assert.doesNotMatch(text, /import [^;]*\bstringify\b[^;]* from "yaml"/, name);
    }
  }
});

Deno.test("P16: parseObjects() refuses what it would read otherwise than kubectl does", () => {
  const with_ = (value: string) =>
    `kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: a\ndata:\n  key: ${value}\n`;
  for (const value of ["off", "yes", "0644", "1_000", "0o7", "1:20"]) {
    assert.throws(() => parseObjects(with_(value), "some.yaml"), {
      exitCode: 2,
      where: [`some.yaml:6:8  ${value} is another value to YAML 1.1 than to 1.2: quote it`],
    });
    assert.equal(parseObjects(with_(`"${value}"`), "some.yaml")[0]!.data.key, value);
  }
  assert.equal(parseObjects(with_("420"), "some.yaml")[0]!.data.key, 420);
});
