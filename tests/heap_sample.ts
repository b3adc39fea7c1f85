/**
 * How much does a function allocate? For tests of what must not allocate at all.
 * @module
 */
import inspector from "node:inspector";

/** Bytes that `run` allocates in functions of that name and what they call, by a heap sample that counts what was collected meanwhile too. */
export async function allocatedBy(run: () => void): Promise<number> {
  const session = new inspector.Session();
  session.connect();
  const post = (method: string, parameters?: Record<string, unknown>) =>
    new Promise<{ profile: { head: HeapNode } }>((resolve, reject) =>
      session.post(
        method,
        parameters,
        (error: Error | null, result: unknown) =>
          error ? reject(error) : resolve(result as { profile: { head: HeapNode } }),
      )
    );
  try {
    await post("HeapProfiler.startSampling", {
      samplingInterval: 1024,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    });
    run();
    const { profile } = await post("HeapProfiler.stopSampling");
    return bytesBelow(profile.head, false);
  } finally {
    session.disconnect();
  }
}

interface HeapNode {
  readonly callFrame: { readonly functionName: string };
  readonly selfSize: number;
  readonly children: readonly HeapNode[];
}

/** What was allocated in a function called `run` and what it called; the inspector allocates as well. */
function bytesBelow({ callFrame, selfSize, children }: HeapNode, isInside: boolean): number {
  const counts = isInside || callFrame.functionName === "run";
  const below = children.reduce((sum, child) => sum + bytesBelow(child, counts), 0);
  return below + (counts ? selfSize : 0);
}
