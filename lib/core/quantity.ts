// Durations, sizes and CPU amounts as numbers, for comparing settings. Input is schema-checked.

const SECONDS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
const POWER = ["", "k", "m", "g", "t"];

/** Seconds of a duration such as `90s`, `14d` or, as programs print it, `1m30s`; NaN of anything else. */
export function durationSeconds(text: string): number {
  const parts = text.match(/[0-9.]+[a-z]+/g) ?? [];
  if (text === "" || parts.join("") !== text) return NaN;
  return parts.map(split)
    .reduce((sum, [amount, unit]) => sum + amount * (SECONDS[unit] ?? NaN), 0);
}

/** A time in seconds for people, in five characters: `12s`, `41m`, `2h31m`, `47h`, `60d`. */
export function ageText(seconds: number): string {
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (minutes < 1) return `${Math.floor(seconds)}s`;
  if (hours < 1) return `${minutes}m`;
  if (hours < 10) return `${hours}h${String(minutes % 60).padStart(2, "0")}m`;
  return hours < 48 ? `${hours}h` : `${Math.floor(hours / 24)}d`;
}

/** Bytes of a size such as `2Gi`, `500MB` (Thanos counts it in 1024s too) or `1g` (Java). */
export function bytesOf(text: string): number {
  const [amount, unit] = split(text);
  const power = POWER.indexOf(unit.charAt(0).toLowerCase());
  return power < 0 ? NaN : amount * 1024 ** power;
}

const AMOUNTS: Record<string, number> = { "": 1, n: 1e-9, u: 1e-6, m: 1e-3 };
for (const [power, unit] of ["k", "M", "G", "T", "P", "E"].entries()) {
  AMOUNTS[unit] = 1000 ** (power + 1);
  AMOUNTS[`${unit.toUpperCase()}i`] = 1024 ** (power + 1);
}

/** Value of a Kubernetes quantity (`500m`, `1Gi`, `1e3`), the way the API server counts; else NaN. */
export function amountOf(text: string): number {
  const [amount, unit] = split(text);
  return amount * (AMOUNTS[unit] ?? NaN);
}

function split(text: string): [amount: number, unit: string] {
  const [, amount, unit] = /^([0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)$/.exec(text) ?? [];
  return [Number(amount ?? NaN), unit ?? ""];
}
