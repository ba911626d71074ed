/** Recordings and results kept in this browser, so that the page survives a reload. */

import type { Transcription } from "./api/types";

export interface Entry {
  /** The transcription's id. */
  id: string;
  name: string;
  /** Milliseconds since 1970. */
  created: number;
  file: Blob | null;
  transcription: Transcription | null;
}

const KEPT_ENTRIES = 12;
const STORE = "transcriptions";

export class Library {
  private readonly opening: Promise<IDBDatabase | null> = open();

  async put(entry: Entry): Promise<void> {
    await this.run("readwrite", (store) => store.put(entry));
    const entries = await this.list();
    for (const old of entries.slice(KEPT_ENTRIES)) await this.remove(old.id);
  }

  get(id: string): Promise<Entry | undefined> {
    return this.run<Entry | undefined>("readonly", (store) => store.get(id) as IDBRequest<Entry | undefined>);
  }

  /** All entries, the newest first. */
  async list(): Promise<Entry[]> {
    const entries = (await this.run<Entry[]>("readonly", (store) => store.getAll() as IDBRequest<Entry[]>)) ?? [];
    return entries.sort((a, b) => b.created - a.created);
  }

  async remove(id: string): Promise<void> {
    await this.run("readwrite", (store) => store.delete(id));
  }

  /** Without a database (private windows, a full disk) nothing is kept, and the page works on. */
  private async run<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
    const database = await this.opening;
    if (database === null) return undefined;
    return new Promise((resolve) => {
      try {
        const request = act(database.transaction(STORE, mode).objectStore(STORE));
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => resolve(undefined);
      } catch {
        resolve(undefined);
      }
    });
  }
}

function open(): Promise<IDBDatabase | null> {
  return new Promise((resolve) => {
    try {
      const request = indexedDB.open("mt3", 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
}
