"""Lists a directory tree as JSON lines, one entry a line, sorted by path: an account of a tree that shares no code with mbuild.

usage: tree.py DIR [--no-mtime]

path, link and xattr names are Latin-1 texts with one character a byte, so that any name survives. Entries that share an inode
name the first of them in `same`. The root itself is the entry `.`.
"""
import base64
import hashlib
import json
import os
import stat
import sys

KINDS = {
    stat.S_IFREG: 'file', stat.S_IFDIR: 'directory', stat.S_IFLNK: 'symlink', stat.S_IFCHR: 'character',
    stat.S_IFBLK: 'block', stat.S_IFIFO: 'fifo', stat.S_IFSOCK: 'socket',
}


def text(raw):
    return raw.decode('latin-1')


def digest(path):
    hasher = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()


def describe(path, name, first_of_inode, mtime):
    info = os.lstat(path)
    kind = KINDS[stat.S_IFMT(info.st_mode)]
    entry = {'path': text(name), 'type': kind, 'mode': '%04o' % stat.S_IMODE(info.st_mode), 'uid': info.st_uid, 'gid': info.st_gid}
    if kind == 'file':
        entry['size'] = info.st_size
        entry['sha256'] = digest(path)
    if kind == 'symlink':
        entry['link'] = text(os.readlink(path))
    if kind in ('character', 'block'):
        entry['device'] = '%d:%d' % (os.major(info.st_rdev), os.minor(info.st_rdev))
    if mtime:
        entry['mtime'] = int(info.st_mtime // 1)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    # The overlay's own marks are no part of the tree that it shows.
    names = [name for name in names if not name.startswith(('trusted.overlay.', 'user.overlay.'))]
    if names:
        entry['xattrs'] = {attr: base64.b64encode(os.getxattr(path, attr, follow_symlinks=False)).decode() for attr in names}
    if kind != 'directory' and info.st_nlink > 1:
        first = first_of_inode.setdefault((info.st_dev, info.st_ino), entry['path'])
        if first != entry['path']:
            entry['same'] = first
    return entry


def paths_under(root):
    found = [b'.']
    pending = [b'']
    while pending:
        parent = pending.pop()
        with os.scandir(os.path.join(root, parent)) as entries:
            for entry in entries:
                name = os.path.join(parent, entry.name)
                found.append(name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(name)
    return sorted(found)


def main():
    root = os.fsencode(sys.argv[1])
    mtime = '--no-mtime' not in sys.argv[2:]
    first_of_inode = {}
    for name in paths_under(root):
        print(json.dumps(describe(os.path.join(root, name), name, first_of_inode, mtime)))


main()
