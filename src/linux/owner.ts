/** Who a file belongs to. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}
