FROM scratch
COPY [^b-a] /b/
