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
  const seal = (piece: number, about: Uint8Array, text: string) => {
    const counted = Buffer.concat([nonce, Uint8Array.of(piece, 0, 0, 0)]);
    const cipher = createCipheriv("aes-256-gcm", key, counted);
    cipher.setAAD(about); // vouched for, but not sent
    return Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
  };
  // Of piece 0, which is empty, the tag alone is used; with the mark of the last piece before it, it
  // stands for piece 1 being the only one.
  const last = Buffer.concat([Uint8Array.of(0x80), seal(0, Uint8Array.of(), "")]);
  const body = seal(1, last, text);
  return new Uint8Array(Buffer.concat([salt, Uint8Array.of(PBKDF2_AES_GCM), nonce, body]));
}

const PBKDF2_AES_GCM = 2;
