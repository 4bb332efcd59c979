#!/bin/sh
# Makes the directory of which a function's zip file consists, for the runtime provided.al2023:
#
#     sh package.sh build PYTHON REQUIREMENT...
#
# PYTHON is an interpreter that can be moved with what belongs to it, such as those of uv and python-build-standalone, for the
# architecture of the function; the requirements are those of `pip install`. The application here is that of ../example.
set -eu
build=$1 home=$("$2" -c 'import sys; print(sys.base_prefix)')
shift 2
here=$(dirname "$0")

mkdir "$build" "$build/python" "$build/python/bin"
cp "$here/bootstrap" "$here/server.toml" "$here/../example/main.py" "$build"
cp -L "$home/bin/python3" "$build/python/bin"
cp -R "$home/lib" "$build/python/lib"

# What no function needs: Lambda takes 250 MB unpacked.
for name in test idlelib tkinter turtledemo ensurepip lib2to3 'config-*' EXTERNALLY-MANAGED; do
    rm -rf "$build"/python/lib/python3.*/$name
done
rm -rf "$build"/python/lib/pkgconfig "$build"/python/lib/tcl* "$build"/python/lib/tk* "$build"/python/lib/itcl* "$build"/python/lib/libtcl* "$build"/python/lib/libtk*
find "$build/python/lib" -maxdepth 1 -type l -exec rm {} + # for linkers only, and SAM packs what they point at once more

"$build/python/bin/python3" -m pip install --quiet --no-compile --no-warn-script-location --root-user-action=ignore "$@"
find "$build/python/bin" ! -type d ! -name python3 -exec rm {} + # scripts that name a Python of this machine

# The bytecode is made here, as there is no place for it on Lambda. It is not compared with the times of the sources: zip files
# round them, and those of SAM have none.
"$build/python/bin/python3" -m compileall -q -f --invalidation-mode unchecked-hash "$build"
chmod -R a+rX "$build"
