// Bodies with secrets, as MinIO's administration wants them: encrypted with the secret key of the asker.
import { Buffer } from "node:buffer";
import { createCipheriv, pbkdf2Sync, randomBytes } from "node:crypto";

/**
 * Salt, kind of encryption, nonce, and a sio stream of one piece; less than 16 KiB of text. Of the kinds
 * that MinIO takes, this is the one without Argon2, which Deno lacks.
 */
export function sealed(text: string, password: string): Uint8Array<ArrayBuffer> {
  const salt = randomBytes(32);
  const nonce = randomBytes(8);
  const key = pbkdf2Sync(password, salt, 8192, 32, "sha256");
  // Of piece 0, which is empty, the tag alone is used; with the mark of the last piece before it, it
  // stands for piece 1 being the only one.
  const tag = seal({ key, nonce, piece: 0 }, "");
  const last = Buffer.concat([Uint8Array.of(0x80), tag]);
  const body = seal({ key, nonce, piece: 1, about: last }, text);
  return new Uint8Array(Buffer.concat([salt, Uint8Array.of(PBKDF2_AES_GCM), nonce, body]));
}

const PBKDF2_AES_GCM = 2;

interface Sealing {
  key: Uint8Array;
  nonce: Uint8Array;
  piece: number;
  /** Vouched for, but not sent. */
  about?: Uint8Array;
}

/** The encrypted text and its tag. */
function seal({ key, nonce, piece, about }: Sealing, text: string): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", key, Buffer.concat([nonce, littleEndian(piece)]));
  if (about) cipher.setAAD(about);
  return Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
}

function littleEndian(number: number): Uint8Array {
  return Uint8Array.of(number, 0, 0, 0);
}
