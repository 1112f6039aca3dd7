FROM scratch
COPY <<a/b /x/
content
a/b
