"""Working copies as overlays: folders that are only read, and one over them that takes what a command changes.

After a command only that one is read, and a fork stands on the folders of what it was made from, so that neither costs
anything for files that are left alone. Linux only, and only where a trial shows that it works.
"""
