# Archives of the same two files in all the ways that ADD knows.
echo f >f
mkdir -p p/packed; echo p >p/packed/p; chown 12:34 p/packed/p; chmod 640 p/packed/p; chmod 710 p/packed
touch -d @1100000000 p/packed/p; touch -d @1200000000 p/packed
tar -C p -cf plain.tar packed
for c in gzip bzip2 xz zstd; do tar -C p --$c -cf packed.$c packed; done
rm -r p
