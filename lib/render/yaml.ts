// YAML of ours, written so that every reader takes it for the same.
import { type ScalarTag, stringify } from "yaml";

/** Plain words that readers of YAML 1.1 (Kubernetes, Thanos, Alertmanager) and of 1.2 (ours) take for different things. */
export const AMBIGUOUS = new RegExp(
  "^(y|yes|n|no|on|off|<<|\\d{4}-\\d\\d?-\\d\\d?([t\\s].*)?|" +
    "[-+]?(_*0_*[box][-+\\da-f_]+|0[\\d_]+|(?=.*_)[\\d_.]+|\\d[\\d_]*(:[0-5]?\\d)+(\\.[\\d_]*)?|" +
    "[\\d_.]*e[-+\\d_]+|\\.))$",
  "i",
);
const otherwise: ScalarTag = { tag: "!ambiguous", default: true, test: AMBIGUOUS, resolve: String };
/** Characters that a reader of YAML 1.1 takes for the end of a line, or refuses. */
const UNWRITTEN = /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g;

type Format = NonNullable<Exclude<Parameters<typeof stringify>[2], string | number>>;

/** A value as YAML that readers of 1.1 and of 1.2 give back as the same value. */
export function toYaml(value: unknown, format: Format = {}): string {
  const options = { ...format, compat: [otherwise] };
  const text = stringify(value, options);
  if (text.search(UNWRITTEN) < 0) return text;
  const quoted = { defaultStringType: "QUOTE_DOUBLE", defaultKeyType: null, singleQuote: false };
  return stringify(value, { ...options, ...quoted } as Format)
    .replace(UNWRITTEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
