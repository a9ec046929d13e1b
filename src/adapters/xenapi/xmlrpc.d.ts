/** The two modules of `xmlrpc` that are used; the package carries no types. */
declare module 'xmlrpc/lib/serializer.js' {
  const serializer: { serializeMethodCall(method: string, params: readonly unknown[]): string };
  export default serializer;
}
declare module 'xmlrpc/lib/customtype.js' {
  export default class CustomType {
    raw: string;
    tagName: string;
    constructor(raw: string);
  }
}
