/** Recordings and results kept in this browser, so that the page survives a reload. */

import type { Transcription } from "./api/types";
import type { Edits } from "./transcription/edits";

export interface Entry {
  /** The transcription's id. */
  id: string;
  name: string;
  /** Milliseconds since 1970. */
  created: number;
  file: Blob | null;
  transcription: Transcription | null;
}

/** A recording of a job that the server does not have. */
interface KeptRecording {
  /** The job's id, a slash, the item's number. */
  id: string;
  created: number;
  file: Blob;
}

/** The user's changes to a transcription, by its id or that of its job's item. */
interface KeptEdits {
  id: string;
  created: number;
  edits: Edits;
}

const KEPT_EDITS = 100;
const KEPT_ENTRIES = 12;
/** Recordings of jobs are kept up to this size, the newest first. */
const KEPT_RECORDING_BYTES = 2 ** 30;
const TRANSCRIPTIONS = "transcriptions";
const RECORDINGS = "recordings";
const EDITS = "edits";
const STORES = [TRANSCRIPTIONS, RECORDINGS, EDITS] as const;
type Store = (typeof STORES)[number];

export class Library {
  private readonly opening: Promise<IDBDatabase | null> = open();

  async put(entry: Entry): Promise<void> {
    await this.run(TRANSCRIPTIONS, "readwrite", (store) => store.put(entry));
    const entries = await this.list();
    for (const old of entries.slice(KEPT_ENTRIES)) await this.remove(old.id);
  }

  get(id: string): Promise<Entry | undefined> {
    return this.run<Entry | undefined>(TRANSCRIPTIONS, "readonly", (store) => store.get(id) as IDBRequest<Entry | undefined>);
  }

  /** All entries, the newest first. */
  async list(): Promise<Entry[]> {
    const entries = (await this.run<Entry[]>(TRANSCRIPTIONS, "readonly", (store) => store.getAll() as IDBRequest<Entry[]>)) ?? [];
    return entries.sort((a, b) => b.created - a.created);
  }

  async remove(id: string): Promise<void> {
    await this.run(TRANSCRIPTIONS, "readwrite", (store) => store.delete(id));
  }

  async putEdits(id: string, edits: Edits): Promise<void> {
    const kept: KeptEdits = { id, created: Date.now(), edits };
    await this.run(EDITS, "readwrite", (store) => store.put(kept));
    const all = (await this.run(EDITS, "readonly", (store) => store.getAll() as IDBRequest<KeptEdits[]>)) ?? [];
    for (const old of all.sort((a, b) => b.created - a.created).slice(KEPT_EDITS))
      await this.run(EDITS, "readwrite", (store) => store.delete(old.id));
  }

  async edits(id: string): Promise<Edits | null> {
    const found = await this.run(EDITS, "readonly", (store) => store.get(id) as IDBRequest<KeptEdits | undefined>);
    return found?.edits ?? null;
  }

  async removeEdits(id: string): Promise<void> {
    await this.run(EDITS, "readwrite", (store) => store.delete(id));
  }

  /** Keeps a recording that the user chose for a job's item. */
  async putRecording(id: string, file: Blob): Promise<void> {
    const recording: KeptRecording = { id, created: Date.now(), file };
    await this.run(RECORDINGS, "readwrite", (store) => store.put(recording));
    const kept = (await this.run(RECORDINGS, "readonly", (store) => store.getAll() as IDBRequest<KeptRecording[]>)) ?? [];
    let bytes = 0;
    for (const each of kept.sort((a, b) => b.created - a.created)) {
      bytes += each.file.size;
      if (bytes > KEPT_RECORDING_BYTES) await this.run(RECORDINGS, "readwrite", (store) => store.delete(each.id));
    }
  }

  async recording(id: string): Promise<Blob | null> {
    const found = await this.run(RECORDINGS, "readonly", (store) => store.get(id) as IDBRequest<KeptRecording | undefined>);
    return found?.file ?? null;
  }

  /** Without a database (private windows, a full disk) nothing is kept, but the page still works. */
  private async run<T>(name: Store, mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
    const database = await this.opening;
    if (database === null) return undefined;
    return new Promise((resolve) => {
      try {
        const transaction = database.transaction(name, mode);
        const request = act(transaction.objectStore(name));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = () => resolve(undefined);
        // Else the browser waits for the request's event, and drops a change if the page is left first.
        if (mode === "readwrite") transaction.commit();
      } catch {
        resolve(undefined);
      }
    });
  }
}

export function itemId(job: string, number: number): string {
  return `${job}/${number}`;
}

function open(): Promise<IDBDatabase | null> {
  return new Promise((resolve) => {
    try {
      const request = indexedDB.open("mt3", 2);
      request.onupgradeneeded = () => {
        for (const name of STORES)
          if (!request.result.objectStoreNames.contains(name)) request.result.createObjectStore(name, { keyPath: "id" });
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
}
