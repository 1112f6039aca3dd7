# The context of all cases of this area.
echo f >f; echo g >g
mkdir -p d/sub; echo 1 >d/one; echo 22 >d/sub/two; chmod 750 d/sub; chmod 600 d/one
ln -s f link; ln -s d dirlink; ln -s ../f d/nested; ln -s nowhere d/dangling
mkdir hards; echo h >hards/1; ln hards/1 hards/2
mkdir -p logs/deep; echo a >logs/a.log; echo b >logs/b.log; echo c >logs/c.txt; echo d >logs/deep/d.log
touch '[odd]' 'a b'; mkdir empty
