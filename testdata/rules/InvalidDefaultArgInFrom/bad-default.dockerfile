ARG SFX=ch:
FROM scrat$SFX
