// Programs of this project as an operator starts them, with settings that are enough to load the fleet.
import { fileURLToPath } from "node:url";

/** The project folder. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

const ENVIRONMENT = {
  SECRET_FILE: "tests/fixtures/no-such-secret.env",
  S3_ACCESS_KEY: "hush-access",
  S3_SECRET_KEY: "hush-secret-key",
  UI_BASIC_AUTH: "admin:$apr1$hushhush$CoI/oaMSX7kDo0L4/VfNe1",
  PROFILE: "",
  NO_COLOR: "1",
};

/** How a program ended, and what it wrote. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program in the project folder, without a terminal and with nothing to read. */
export async function ended(words: string[], env: Record<string, string> = {}): Promise<Ended> {
  const command = new Deno.Command(words[0]!, {
    args: words.slice(1),
    cwd: root,
    env: { ...ENVIRONMENT, ...env },
    stdin: "null",
    signal: AbortSignal.timeout(60_000), // what waits for an answer would wait for ever
  });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}
