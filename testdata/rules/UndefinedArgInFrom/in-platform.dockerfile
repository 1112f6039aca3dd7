FROM --platform=$BULIDPLATFORM scratch
