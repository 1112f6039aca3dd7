arg   VERSION=1    TAG
from   --platform=$BUILDPLATFORM  debian:${TAG}   as   Builder  
  env   A=1   B="two  words"	C=three\ words
ENV   OLD    a value  with blanks   
label  "a b"=c    d='e  f'
  workdir    /app  
copy   --from=builder   --chown=1:1   a    b   /c/
add	x	/y
expose   80   443/tcp
volume    /a   /b
user   app
cmd    echo   "a   b"
stopsignal   9
maintainer   A  B
healthcheck    --interval=5s   cmd    curl   localhost
HEALTHCHECK   none
onbuild    run   make   it
